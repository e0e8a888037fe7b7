"""Collaborators by type: a thin seam before the injection library.

The library is loaded when something asks for a collaborator.

What is built once for the host lives as long as it; what is built for a run lives as long as one run of a body, and
what is built for a tick as long as one call of a periodic one.
Everything is finalized in reverse order.
"""

from __future__ import annotations

import inspect
import types
import typing
from contextlib import AsyncExitStack, asynccontextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from locum.blocking import Context as BlockingContext
from locum.context import Context
from locum.errors import ConfigurationError
from locum.host.plain import call_plain, check_context, facade_of, is_plain
from locum.host.wiring import LIFETIMES, Lifetime, Maker, Wanted, Wiring, name_of
from locum.threads import OwnThread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

__all__ = ["Container", "Lifetime"]

T = TypeVar("T")


class Container:
    """Builds what services ask for by type."""

    def __init__(self) -> None:
        self._factories: list[tuple[Callable[..., object], Lifetime]] = []
        self._classes: list[type] = []
        self._built: Any = None
        self._own: dict[type, object] = {}

    def provide(self, factory: Callable[..., object], lifetime: Lifetime) -> None:
        """Use a function (plain, async, or a generator that finalizes) or a class to build what its annotations say."""
        if lifetime not in LIFETIMES:
            raise ConfigurationError(f"a lifetime is one of {', '.join(LIFETIMES)}, not {lifetime!r}")
        if not inspect.isclass(factory) and "return" not in _hints(factory):
            raise ConfigurationError(f"{name_of(factory)} must say by a return annotation what it provides")
        self._factories.append((factory, lifetime))

    def add_class(self, cls: type) -> None:
        """A service that is built by the container."""
        self._classes.append(cls)

    def check(self, bodies: list[Callable[..., object]]) -> None:
        """See, before anything starts, that everything asked for can be built, and lives long enough.

        Raises:
            ConfigurationError: Something cannot.
        """
        for body in bodies:
            for name, wanted in _parameters(body).items():
                check_context(body, name, wanted.kind)
        wiring = self._wiring()
        for cls in self._classes:
            wiring.check(cls, _asks_for(cls), lives=0)
        for body in bodies:
            wiring.check(body, _asks_for(body), lives=len(LIFETIMES))
        for factory, lifetime in self._factories:
            wiring.check(factory, _asks_for(factory), lives=LIFETIMES.index(lifetime))
        wiring.check_circles()
        if any(wiring.found(_asks_for(asked)) for asked in (*self._classes, *bodies)):
            self._container()  # its library takes as long to load as many takeovers: it is not to be loaded in one

    def _wiring(self) -> Wiring:
        return Wiring(
            {_product(factory): Maker(factory, _asks_for(factory), lifetime) for factory, lifetime in self._factories}
        )

    async def get(self, kind: type[T]) -> T:
        """The collaborator of that type that lives as long as the host."""
        return typing.cast("T", await self._container().get(kind))

    async def build(self, cls: type[T]) -> T:
        """A service, built with its collaborators."""
        wanted = self._wiring().found(_asks_for(cls))
        return cls(**{name: await self._container().get(kind) for name, kind in wanted.items()})

    async def call(self, function: Any, *given: object) -> object:
        """Call a body once, as a run of its own."""
        arguments = _given_to(function, given)
        if arguments is not None:
            return await function(**arguments)
        async with self.run() as call:
            return await call(function, *given)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[Callable[..., Awaitable[object]]]:
        """One run of a body: calls it, with contexts by their class and everything else by type, once for each tick.

        A plain one is called in a thread that is the run's own.
        """
        async with AsyncExitStack() as stack:
            scopes: list[Any] = []
            threads: list[OwnThread] = []

            async def call(function: Any, *given: object) -> object:
                arguments: dict[str, object] = {}
                plain = is_plain(function)
                if plain:
                    given = tuple(map(facade_of, given))
                async with AsyncExitStack() as tick:
                    scope: Any = None
                    for name, wanted in _parameters(function).items():
                        kind = wanted.kind
                        match = _match(kind, given)
                        if match is None and wanted.has_default and not self._provides(kind):
                            continue
                        if match is None:
                            if not scopes:
                                scopes.append(await stack.enter_async_context(self._container()()))
                            if scope is None:
                                scope = await tick.enter_async_context(scopes[0]())
                            match = await scope.get(kind)
                        arguments[name] = match
                    if not plain:
                        return await function(**arguments)
                    if not threads:
                        threads.append(OwnThread(f"body {name_of(function)}"))
                        stack.callback(threads[0].close)
                    return await threads[0].call(partial(call_plain, function, arguments))

            yield call

    async def close(self) -> None:
        """Finalize everything, in reverse order of building."""
        if self._built is not None:
            await self._built.close()

    def _provides(self, kind: object) -> bool:
        return any(_product(factory) == kind for factory, _ in self._factories)

    def _container(self) -> Any:
        if self._built is None:
            import dishka
            import dishka.exception_base

            scopes = {"host": dishka.Scope.APP, "run": dishka.Scope.REQUEST, "tick": dishka.Scope.ACTION}
            provider = dishka.Provider()
            wiring = self._wiring()
            for factory, lifetime in self._factories:
                asked = _asks_for(factory)
                found = wiring.found(asked)
                source = factory if found.keys() == asked.keys() else _asking_only(factory, found)
                provider.provide(source, scope=scopes[lifetime])
            try:
                self._built = dishka.make_async_container(provider)
            except dishka.exception_base.DishkaError as error:
                raise ConfigurationError(f"the collaborators do not fit together: {error}") from error
        return self._built


def _match(kind: object, given: tuple[object, ...]) -> object | None:
    """What is given for a parameter of a type; for one of no type, the first."""
    if kind is None:
        return given[0] if given else None
    return next((one for one in given if isinstance(one, kind)), None) if inspect.isclass(kind) else None


def _given_to(function: Any, given: tuple[object, ...]) -> dict[str, object] | None:
    """The arguments of an async body that asks for nothing but what is given; `None` for any other."""
    arguments: dict[str, object] = {}
    for name, wanted in _parameters(function).items():
        arguments[name] = match = _match(wanted.kind, given)
        if match is None:
            return None
    return None if is_plain(function) else arguments


def _parameters(function: Callable[..., object]) -> dict[str, Wanted]:
    """The parameters of a body by name; `*args` and `**kwargs` ask for nothing. `Any` is no type."""
    try:
        return dict(_read_once(function))
    except TypeError:  # a callable object that has no hash
        return _read(function)


@lru_cache(maxsize=256)
def _read_once(function: Callable[..., object]) -> dict[str, Wanted]:
    """A job's body is called thousands of times."""
    return _read(function)


def _read(function: Callable[..., object]) -> dict[str, Wanted]:
    hints = {name: kind for name, kind in _hints(function).items() if kind is not Any}
    return {
        name: Wanted(hints.get(name), has_default=parameter.default is not parameter.empty)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def _asks_for(asked: Any) -> dict[str, Wanted]:
    """The collaborators of a service, a factory or a body by name: all its parameters but the contexts."""
    if inspect.isclass(asked):
        if asked.__init__ is object.__init__ or not inspect.isfunction(asked.__init__):
            return {}
        found = _parameters(asked.__init__)
        found.pop(next(iter(inspect.signature(asked.__init__).parameters)), None)
        return found
    found = _parameters(asked)
    return {
        name: wanted
        for place, (name, wanted) in enumerate(found.items())
        if not (inspect.isclass(wanted.kind) and issubclass(wanted.kind, (Context, BlockingContext)))
        and not (wanted.kind is None and place == 0)
    }


def _asking_only(factory: Any, found: dict[str, Any]) -> Any:
    """The same factory, which asks only for what was found, and keeps its defaults for the rest."""
    asking: Any
    if inspect.isclass(factory):

        def asking(**collaborators: object) -> object:
            return factory(**collaborators)

        kind: object = factory
    else:
        if not inspect.isfunction(factory):
            raise ConfigurationError(f"{name_of(factory)} is no function, so that its defaults cannot be kept: wrap it")
        asking = types.FunctionType(
            factory.__code__, factory.__globals__, factory.__name__, factory.__defaults__, factory.__closure__
        )
        asking.__kwdefaults__ = factory.__kwdefaults__
        kind = _hints(factory)["return"]
    asking.__annotations__ = {**found, "return": kind}
    asking.__signature__ = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=one) for name, one in found.items()]
    )
    return asking


def _product(factory: Callable[..., object]) -> Any:
    """What a factory provides: its return annotation, unwrapped if it is a generator."""
    if inspect.isclass(factory):
        return factory
    kind = _hints(factory)["return"]
    if inspect.isgeneratorfunction(factory) or inspect.isasyncgenfunction(factory):
        return typing.get_args(kind)[0]
    return kind


def _hints(function: Callable[..., object]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError as error:
        raise ConfigurationError(
            f"the annotations of {name_of(function)} name {error.name!r}, which is not there when the program runs:"
            " import it outside TYPE_CHECKING"
        ) from error
