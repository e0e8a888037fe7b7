"""The life of one object of a reliable service: it is taken along its road, each step within its time.

On the way up the first step that fails ends the road, and the object is aborted. On the way down every later step is
taken, whatever became of those before it; what went wrong is collected. To whoever runs it, it is a body like any
other, which has ended when the last step has; what ignores that its time is up keeps it from ending.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from locum.clock import nanoseconds, seconds
from locum.errors import StopTimeoutError
from locum.scopes import finish
from locum.service import grace_of
from locum.services.bodies import Body
from locum.services.bounded import TimeIsUpError, bounded
from locum.services.listeners import Listeners, Listening
from locum.services.road import Move, Step, road, share
from locum.telemetry import exc_info_of, logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping

    from locum.context import Context
    from locum.coordination.naming import Naming
    from locum.scopes import Scope
    from locum.service import Surroundings
    from locum.services.listeners import Listener, Place
    from locum.state.role import Role

__all__ = ["Life", "Limits", "ReliableService"]

_log = logger("services.life")
_BY_THEMSELVES: Final = (Step.ASK, Step.REVOKE, Step.RUN, Step.CLOSE_LISTENERS, Step.END_RUN)
"""The steps that keep to their time by themselves, or take none."""


class ReliableService:
    """What stateless and stateful services have in common. An object lives once: for each life a new one is built.

    Attributes:
        drain: Seconds between the withdrawal of its addresses and the closing of its listeners, for callers that look
            seldom.
    """

    drain: ClassVar[float] = 0.0
    _life: Life | None = None

    def listeners(self) -> Iterable[Listener | Listening]:
        """How it is reached: made anew each time that it begins to listen; none if it does not."""
        return ()

    async def on_open(self) -> None:
        """It begins."""

    async def on_close(self) -> None:
        """It has ended: its listeners are closed, and its run is over."""

    async def on_abort(self) -> None:
        """It ends without having been opened whole; the last chance to let go of something."""

    @property
    def listening(self) -> Awaitable[Mapping[str, str]]:
        """`await self.listening` until it listens: the addresses by the listeners' names."""
        if self._life is None:
            raise RuntimeError(f"{type(self).__name__} lives in no host: add its class to one")
        return self._life.listening()


@dataclass(slots=True, kw_only=True)
class Limits:
    """How long the ways of a service's objects may take.

    Attributes:
        start: Seconds for each way up.
        stop: Seconds for a way down that nobody has asked for within another time; a host that stops may have fewer.
    """

    start: float
    stop: float


class Life:
    """One object on its way.

    Args:
        service: The object.
        run: Its run, called with the context that it is given.
        place: Where it lives.
        limits: How long its ways may take.
        surroundings: Its host.
        naming: Where its addresses are published.
        scope: Owns its tasks.
    """

    def __init__(
        self,
        service: ReliableService,
        run: Callable[..., object],
        place: Place,
        *,
        limits: Limits,
        surroundings: Surroundings,
        naming: Naming,
        scope: Scope,
    ) -> None:
        service._life = self
        self.place = place
        self.role: Role | None = None
        self.errors: list[Exception] = []
        """What went wrong on its ways down."""
        self._service, self._run, self._limits = service, run, limits
        self._surroundings, self._scope = surroundings, scope
        self._listeners = Listeners(place, naming)
        self._listens = asyncio.Event()
        self._context: Context | None = None
        self._body: Body | None = None
        self._running: list[asyncio.Task[Any]] = []
        self._is_silenced = False
        self._ways: dict[Step, Callable[[float], Coroutine[Any, Any, None]]] = {
            Step.ON_OPEN: lambda _: service.on_open(),
            Step.OPEN_LISTENERS: lambda _: self._listeners.open(self._wanted(), self._term()),
            Step.PUBLISH: lambda _: self._publish(),
            Step.RUN: lambda _: self._begin_run(),
            Step.WITHDRAW: lambda _: self._withdraw(),
            Step.DRAIN: self._drain,
            Step.CLOSE_LISTENERS: self._listeners.close,
            Step.ABORT_LISTENERS: lambda _: self._listeners.abort(),
            Step.ASK: lambda _: _nothing(),
            Step.REVOKE: lambda _: self._revoke(),
            Step.END_RUN: self._end_run,
            Step.ON_CLOSE: lambda _: service.on_close(),
            Step.ON_ABORT: lambda _: service.on_abort(),
        }

    async def listening(self) -> Mapping[str, str]:
        """Wait until it listens: the addresses."""
        await self._listens.wait()
        return self._listeners.addresses

    # -- going

    async def live(
        self, context: Context, *, up: Move, down: Callable[[], Move], opened: Callable[[], object] | None = None
    ) -> None:
        """Go up, run, and go down again when the run has failed or is over, or this is cancelled.

        A run that returns is not the end of what listens: that goes on until it is asked to end.

        Args:
            context: What the run is given.
            up: The way up.
            down: The way down, asked for when it begins.
            opened: Called at the end of the way up.

        Raises:
            BaseException: What the way up or the run has failed with.
        """
        self._context, self._is_silenced = context, False
        try:
            try:
                await self.up(up)
            except BaseException:
                await self.down(Move.ABORT)
                raise
            if opened is not None:
                opened()
            try:
                await self._until_over(context)
            finally:
                await self.down(down())
        finally:
            if self._running:
                await asyncio.wait(self._running)  # whoever runs this knows what to do with what does not end

    async def silence(self, within: float) -> None:
        """What comes before the run is asked to end: whoever calls it is to look elsewhere, and is answered still."""
        if self._context is not None and not self._is_silenced:
            steps = road(Move.CLOSE, self.role)
            self._is_silenced = True
            await self._walk_down(steps[: steps.index(Step.ASK)] if Step.ASK in steps else (), within)

    async def up(self, move: Move) -> None:
        """Take it a way up.

        Raises:
            Exception: What a step has failed with: it is to be aborted.
        """
        steps, end = road(move, self.role), self._end(self._limits.start)
        for number, step in enumerate(steps):
            await self._take(step, share(steps[number:], self._left(end)))
        self._listeners.are_ready()

    async def down(self, move: Move) -> None:
        """Take it a way down, to its end, even if whoever waits for it is cancelled; what goes wrong is in `errors`."""
        steps = road(move, self.role)
        if self._is_silenced and Step.ASK in steps:
            steps = steps[steps.index(Step.ASK) :]
        deadline = None if self._context is None else self._context.deadline
        # a part is left for what cannot be cut short, and for whoever waits for this
        within = grace_of(self._limits.stop if deadline is None else deadline)
        going = self._scope.spawn(self._walk_down(steps, within), name=f"way down of {self.place}")
        await finish(going)

    async def _walk_down(self, steps: tuple[Step, ...], within: float) -> None:
        end = self._end(within)
        for number, step in enumerate(steps):
            try:
                await self._take(step, share(steps[number:], self._left(end)))
            except Exception as error:
                _log.error("%s failed in %s", self.place, step.value, exc_info=exc_info_of(error))
                self.errors.append(error)

    # -- what a role changes

    def _wanted(self) -> list[Listening]:
        """The listeners that are to be opened now."""
        return [Listening.of(given) for given in self._service.listeners()]

    def _term(self) -> Any:
        """Under which it serves; `None` if that needs none."""
        return None

    def _goes_on(self) -> bool:
        """Whether it does something although its run has returned."""
        return bool(self._listeners.addresses)

    async def _revoke(self) -> None:
        """Nothing that it writes counts any more; its term, if it has one, is ended by whoever cancels this."""

    # -- each step

    async def _take(self, step: Step, within: float) -> None:
        work, limit = self._ways[step](within), grace_of(within)
        if step in _BY_THEMSELVES:
            await work
            return
        name = f"{self.place}, {step.value}"
        try:
            await bounded(work, name=name, limit=limit, patience=within - limit, scope=self._scope)
        except TimeIsUpError as late:
            if not late.task.done():
                self._running.append(late.task)
            error = StopTimeoutError(name, round(limit, 3))
            error.add_note(f"it stood {late.where}")
            raise error from None

    async def _publish(self) -> None:
        await self._listeners.publish()
        self._listens.set()

    async def _withdraw(self) -> None:
        self._listens.clear()
        await self._listeners.withdraw()

    async def _drain(self, within: float) -> None:
        if self._service.drain and self._listeners.addresses:
            await self._surroundings.clock.sleep(min(self._service.drain, within))

    async def _begin_run(self) -> None:
        self._body = Body(self.place.service, self._surroundings.call(self._run, self._context), scope=self._scope)

    async def _until_over(self, context: Context) -> None:
        """Wait until its run has ended, and what listens is asked to."""
        body = self._body
        if body is None:
            raise RuntimeError(f"{self.place} has no run")
        await body.ended()
        if body.error is not None:
            raise body.error
        if body.task.cancelled():
            raise RuntimeError("the body was cancelled, and not by Locum")
        if self._goes_on():
            await context.asked()

    async def _end_run(self, within: float) -> None:
        body, self._body = self._body, None
        if body is None:
            return
        was_over = body.task.done()
        try:
            await body.end(timeout=within)
        except StopTimeoutError:
            self._running.append(body.task)
            raise
        if body.error is not None and not was_over:
            raise body.error

    def _end(self, within: float) -> int:
        return self._surroundings.clock.now() + nanoseconds(within)

    def _left(self, end: int) -> float:
        return seconds(end - self._surroundings.clock.now())


async def _nothing() -> None:
    """The step is somebody else's."""
