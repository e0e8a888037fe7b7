"""The host: what a user declares, and `run`."""

from __future__ import annotations

import inspect
import os
import re
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from locum.errors import ConfigurationError
from locum.host.configuration import Configuration
from locum.host.layers import Sources
from locum.host.options import provide_options
from locum.host.plain import check_body
from locum.host.plan import Declaration, Plan
from locum.host.settings import Settings
from locum.keeper.control import WorkerEnd
from locum.keeper.owner import ENFORCEMENTS
from locum.names import check_name, snake_case
from locum.services.active_passive import ActivePassiveService
from locum.services.background import BackgroundService
from locum.telemetry import Event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from locum.host.configuration import Options
    from locum.host.container import Lifetime

__all__ = ["Host", "instance_command", "keeper_command", "worker_command"]

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., object]")
H = TypeVar("H", bound="Callable[..., object]")


class Host:
    """A set of services that one instance runs.

    Args:
        name: The host's name; instances of one name share their services.
        store: The URL of the store that they share; a SQLite file beside the user's module if none is given.
        ttl: Seconds until an instance that cannot be seen is taken for lost.
        instance: This instance's name; made of the machine's name and the pid if none is given.
        enforcement: What happens to work whose time is up: `kill`, by the keeper and the kernel; or `cancel`, the
            default inside somebody else's process, and possible only there.
        hang_timeout: Seconds after which a worker whose event loop does not turn is ended and started again, a
            start that blocks too; `math.inf` for never.
        config: A file of settings (TOML, JSON or YAML), beside the user's module if its path is relative.
        env_file: A file of variables, which need not be there.
    """

    def __init__(
        self,
        name: str,
        *,
        store: str | None = None,
        ttl: float = 6.0,
        instance: str | None = None,
        enforcement: str | None = None,
        hang_timeout: float = 30.0,
        config: str | None = None,
        env_file: str | None = None,
    ) -> None:
        if enforcement not in (None, *ENFORCEMENTS):
            raise ConfigurationError(f"enforcement={enforcement!r} is not known: it is {' or '.join(ENFORCEMENTS)}")
        file = sys._getframe(1).f_globals.get("__file__")
        self.name = check_name(name, what="the name of a host")
        settings = Settings(
            name=name,
            store=store,
            ttl=ttl,
            instance=instance,
            hang_timeout=hang_timeout,
            folder=Path(file).absolute().parent if file else Path.cwd(),
        )
        sources = Sources(settings.folder, config, env_file)
        self.plan = Plan(name, Configuration(settings, sources), enforcement=enforcement)

    @property
    def settings(self) -> Settings:
        """The host's own settings, as files, environment and command line override them; read anew."""
        return self.plan.configuration.read().settings

    def options(self, model: type[T], *, section: str | None = None) -> Options[T]:
        """Read a section of the settings as a model of pydantic; it is checked before anything starts.

        `Options[model]` is a collaborator from then on, and so is the model itself, for one run of a body.

        Args:
            model: A `pydantic.BaseModel`; its defaults are the lowest layer.
            section: `billing` is `[billing]` in a file and `BILLING_...` in the environment; the model's name in snake
                case, without `options` or `settings` at its end, if none is given.
        """
        name = section or re.sub(r"_(options|settings)$", "", snake_case(model.__name__))
        return provide_options(self.plan.container, self.plan.configuration, model, name)

    def reload(self) -> bool:
        """Read the settings again, while the host runs and in its event loop; wrong ones are told, and change nothing.

        Returns:
            Whether they could be read.
        """
        return self.plan.configuration.reload()

    def provide(self, factory: Callable[..., object], *, lifetime: Lifetime = "host") -> None:
        """Build collaborators with this function (plain, async or generator) or class, by its return annotation.

        Args:
            factory: What builds it; it may ask for collaborators itself.
            lifetime: How long one lives: as long as the `host`, one `run` of a body, or one `tick` of a periodic one.
        """
        self.plan.container.provide(factory, lifetime)

    def fence(self, target: Any) -> None:
        """Raise a fence in this database before each term's body (R21).

        Args:
            target: An engine, a connection, or the type of a collaborator that is one or has one.
        """
        self.plan.fences.append(target)

    def add(self, service: Any, *, name: str | None = None, stop_timeout: float = 30.0) -> None:
        """Add a service: a class, which is built with its collaborators, or an object.

        Args:
            service: An `ActivePassiveService` or `BackgroundService`.
            name: Its name; the class's in snake case if none is given.
            stop_timeout: Seconds it may take to stop.
        """
        cls = service if inspect.isclass(service) else type(service)
        if issubclass(cls, ActivePassiveService):
            kind = "active_passive"
        elif issubclass(cls, BackgroundService):
            kind = "background"
        else:
            raise ConfigurationError(
                f"{cls.__qualname__} is no service: derive it from ActivePassiveService or BackgroundService, or"
                " decorate a function with @host.active_passive or @host.background"
            )
        if inspect.isclass(service):
            self.plan.container.add_class(cls)
        self._declare(kind, service, name or snake_case(cls.__name__), None, stop_timeout)

    @overload
    def active_passive(self, function: F) -> F: ...
    @overload
    def active_passive(
        self, *, every: float | None = None, name: str | None = None, stop_timeout: float = 30.0
    ) -> Callable[[F], F]: ...
    def active_passive(
        self,
        function: F | None = None,
        *,
        every: float | None = None,
        name: str | None = None,
        stop_timeout: float = 30.0,
    ) -> F | Callable[[F], F]:
        """Declare a function that works on one instance; it may ask for the `Term`, and collaborators by type.

        A plain `def` runs in a thread of its own, and is given the `locum.blocking.Term`.

        Args:
            function: The body.
            every: Call it every so many seconds while active; without it, once a term.
            name: The service's name; the function's if none is given.
            stop_timeout: Seconds it may take to stop.
        """
        return self._function("active_passive", function, every, name, stop_timeout)

    @overload
    def background(self, function: F) -> F: ...
    @overload
    def background(self, *, name: str | None = None, stop_timeout: float = 30.0) -> Callable[[F], F]: ...
    def background(
        self, function: F | None = None, *, name: str | None = None, stop_timeout: float = 30.0
    ) -> F | Callable[[F], F]:
        """Declare a function that runs on every instance; it may ask for `Stopping`, and collaborators by type.

        A plain `def` runs in a thread of its own, and is given the `locum.blocking.Stopping`.
        """
        return self._function("background", function, None, name, stop_timeout)

    def on(self, kind: type[Event]) -> Callable[[H], H]:
        """Call the decorated function (plain or async) with every event of that type."""
        if not (inspect.isclass(kind) and issubclass(kind, Event)):
            raise ConfigurationError(f"{kind!r} is no type of event: use one of locum's, such as TermStarted")

        def take(handler: H) -> H:
            self.plan.handlers.append((kind, handler))
            return handler

        return take

    def run(self, *, embedded: bool = False) -> None:
        """Run until told to stop, under a keeper: this process becomes the keeper, and starts itself as its worker.

        Does not return; the exit codes are those of `locum.exit_codes`.

        Args:
            embedded: Run in this one process, whose keeper is a thread. Work whose time is up is then cancelled, and
                nobody ends what ignores that, unless the host's `enforcement` is `kill`.
        """
        if embedded:
            from locum.host.embedded import run_embedded

            run_embedded(self.plan)
        if self.plan.enforcement == "cancel":
            raise ConfigurationError(
                f"{self.name} has enforcement='cancel', but under a keeper work is ended by 'kill': leave it out, or"
                " call run(embedded=True)"
            )
        end = WorkerEnd.take()
        if end is None:
            if len(sys.orig_argv) < 2:
                raise ConfigurationError("host.run() needs a program that can be started again: call it from a file")
            sys.stdout.flush()
            sys.stderr.flush()
            os.execv(sys.executable, keeper_command([sys.executable, *sys.orig_argv[1:]]))  # noqa: S606 - it is ourselves
        from locum.host.kept import work  # after the keeper: whoever only declares needs none of it

        work(self.plan, end)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Run inside a web application, from its start to its stop: `FastAPI(lifespan=host.lifespan)`.

        Its keeper is a thread, as with `run(embedded=True)`.

        Raises:
            ConfigurationError: What was declared cannot run.
            StartError: A service did not start.
        """
        del app
        from locum.host.embedded import running

        async with running(self.plan):
            yield

    def _function(
        self, kind: str, function: F | None, every: float | None, name: str | None, stop_timeout: float
    ) -> F | Any:
        def take(body: F) -> F:
            check_body(body)
            self._declare(kind, body, name or str(getattr(body, "__name__", body)), every, stop_timeout)
            return body

        return take if function is None else take(function)

    def _declare(self, kind: str, what: Any, name: str, every: float | None, stop_timeout: float) -> None:
        check_name(name, what="the name of a service")
        if any(declared.name == name for declared in self.plan.declarations):
            raise ConfigurationError(f"{self.name} has a service {name!r} already: give one of them another name=")
        if every is not None and not every > 0:
            raise ConfigurationError(f"{name}: every={every!r} must be more than 0 seconds")
        if not 0 < stop_timeout < float("inf"):
            raise ConfigurationError(f"{name}: stop_timeout={stop_timeout!r} must be a number of seconds above 0")
        self.plan.declarations.append(
            Declaration(name=name, kind=kind, what=what, every=every, stop_timeout=stop_timeout)
        )


def keeper_command(worker: list[str]) -> list[str]:
    """The command line of a keeper for a worker's command line. `-P`: the keeper must not import the user's modules."""
    return [sys.executable, "-P", "-m", "locum.keeper", "--", *worker]


def worker_command(app: str) -> list[str]:
    """The command line of a worker of the host that `MODULE:HOST` names, for its keeper to start."""
    return [sys.executable, "-P", "-m", "locum.host.worker", app]


def instance_command(app: str) -> list[str]:
    """The command line of an instance of that host: a keeper, and the worker that it starts."""
    return keeper_command(worker_command(app))
