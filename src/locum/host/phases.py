"""Taking a host's services through its phases, side by side where nothing says otherwise, each step within its time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from locum.clock import seconds
from locum.errors import LocumError, StartError, StopTimeoutError
from locum.host.lifecycle import BACK, THERE, Phase, StopTimes, would_not_stop
from locum.scopes import Scope, finish, happens, told_by_result
from locum.services.bounded import TimeIsUpError, bounded
from locum.telemetry import exc_info_of, logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping

    from locum.clock import Clock
    from locum.host.lifecycle import Order
    from locum.service import Runner

__all__ = ["Limits", "Phases"]

_log = logger("host")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long one service may take.

    Attributes:
        start: Seconds from the beginning of its start until it is ready, and for each other hook on the way there.
        stop: Seconds for all that it does while the host stops.
    """

    start: float
    stop: float


class Phases:
    """The services of one run of a host.

    Args:
        order: Who waits for whom.
        limits: How long each may take.
        clock: Measures it.
        host: Seconds that the stop of all of them may take.
        drain: Seconds between the phases stopping and stop, in which all still run.
    """

    def __init__(self, order: Order, limits: Mapping[str, Limits], *, clock: Clock, host: float, drain: float) -> None:
        self._order, self._limits, self._clock, self._host, self._drain = order, limits, clock, host, drain
        self._scope = Scope("phases", on_error=told_by_result)
        self.runners: dict[str, Runner] = {}
        self._entered: dict[Phase, set[str]] = {phase: set() for phase in Phase}
        self._hurried = asyncio.Event()
        self._would_not_stop: set[str] = set()
        self._stopping: asyncio.Task[list[Exception]] | None = None

    async def start(self, runners: Mapping[str, Runner]) -> None:
        """Take services there, each by its name: starting, start, started.

        Raises:
            StartError: One did not start, or was not ready in time; those that had begun were taken back. What went
                wrong then is attached as notes, and in `rollback`.
        """
        self.runners.update(runners)
        try:
            for phase in THERE:
                await self._all_there(phase, runners)
        except BaseException as error:
            failures = await self._take_back(runners, "was stopped, since the start failed")
            if isinstance(error, StartError):
                error.rollback.extend(failures)
            for failure in failures:
                error.add_note(f"while stopping again: {failure}")
            raise

    async def stop(self, why: str) -> list[Exception]:
        """Take all services back: stopping, stop, stopped; once, whoever asks for it, and not to be interrupted.

        One that would not stop is not closed: its body still runs, and a close would wait for it without end.

        Returns:
            What went wrong; nothing of it kept another from being stopped.
        """
        if self._stopping is None:
            self._stopping = self._scope.spawn(self._back(set(self.runners), why, drain=self._drain), name="stop")
        await finish(self._stopping)
        return self._stopping.result()

    def hurry(self) -> None:
        """Cancel what is ending by itself, now and from now on; no time is left."""
        self._hurried.set()
        for runner in self.runners.values():
            runner.hurry()

    async def restart(self, names: Collection[str], make: Callable[[str], Awaitable[Runner]]) -> None:
        """Stop some services, with those that come after them, and start them anew.

        Raises:
            StartError: One did not start again; all of them are stopped.
            StopTimeoutError: One would not stop.
        """
        some = self._order.with_dependants(names)
        failures = await self._back(some, "begins anew", drain=0.0)
        for failure in failures:
            if isinstance(failure, StopTimeoutError):
                raise failure
        await self.start({name: await make(name) for name in self._order.names if name in some})

    def limit(self, *, host: float, drain: float) -> None:
        """So long a stop that begins from now on may take, and so long it is announced before."""
        self._host, self._drain = host, drain

    async def close(self) -> None:
        """Let go of everything; to be called last."""
        await self._scope.close()

    # -- there

    async def _all_there(self, phase: Phase, runners: Mapping[str, Runner]) -> None:
        others = set(self._order.names) - runners.keys()  # they are there already
        done, begun = set(others), set(others)
        async with Scope(f"phase {phase.value}", on_error=told_by_result) as scope:
            tasks: dict[asyncio.Task[None], str] = {}
            while len(done) < len(self._order.names):
                for name in self._order.startable(begun, done):
                    begun.add(name)
                    self._entered[phase].add(name)
                    if phase is not Phase.START and runners[name].hooks is None:
                        done.add(name)
                    else:
                        tasks[scope.spawn(self._there(phase, runners[name]), name=name)] = name
                if not tasks:
                    continue
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in tasks if task.done()]:
                    done.add(tasks.pop(task))
                    task.result()

    async def _there(self, phase: Phase, runner: Runner) -> None:
        limit, begun = self._limits[runner.name].start, self._clock.now()
        waits = False
        try:
            await self._limited(runner.name, _step_there(phase, runner), limit)
            if phase is Phase.START:
                waits = True
                rest = limit - seconds(self._clock.now() - begun)
                await self._limited(runner.name, runner.until_ready(), rest)
        except TimeIsUpError as late:
            what = "it has not said ready()" if waits else f"its {phase.value} has not ended; it stood {late.where},"
            raise StartError(runner.name, f"{what} within {limit:g} s") from None
        except Exception as error:
            raise StartError(runner.name, f"{type(error).__name__}: {error}") from error

    # -- back

    async def _take_back(self, runners: Mapping[str, Runner], why: str) -> list[Exception]:
        task = self._scope.spawn(self._back(set(runners), why, drain=0.0), name="taking back")
        await finish(task)
        return task.result()

    async def _back(self, names: set[str], why: str, *, drain: float) -> list[Exception]:
        errors: list[Exception] = []
        times = StopTimes(
            self._clock.now(), limits={name: one.stop for name, one in self._limits.items()}, host=self._host
        )
        for phase, way_there in zip(BACK, reversed(THERE), strict=True):
            # what was never started is not stopped; what had begun to make ready is closed
            entered = self._entered[Phase.START if way_there is Phase.STARTED else way_there]
            among = names & entered - self._would_not_stop
            await self._all_back(phase, among, why, times, errors)
            if phase is Phase.STOPPING and drain and among:
                await happens(self._hurried.wait(), within=drain)
        for phase in Phase:
            self._entered[phase] -= names
        return errors

    async def _all_back(
        self, phase: Phase, among: set[str], why: str, times: StopTimes, errors: list[Exception]
    ) -> None:
        done: set[str] = set()
        begun: set[str] = set()
        async with Scope(f"phase {phase.value}", on_error=told_by_result) as scope:
            tasks: dict[asyncio.Task[None], str] = {}
            while len(done) < len(among):
                for name in self._order.stoppable(among, begun, done):
                    begun.add(name)
                    if phase is Phase.STOPPING and self.runners[name].hooks is None:
                        done.add(name)
                    else:
                        tasks[scope.spawn(self._one_back(phase, name, why, times, errors), name=name)] = name
                if not tasks:
                    continue
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in tasks if task.done()]:
                    done.add(tasks.pop(task))

    async def _one_back(self, phase: Phase, name: str, why: str, times: StopTimes, errors: list[Exception]) -> None:
        runner, begun = self.runners[name], self._clock.now()
        limit = times.limit(name, phase, now=begun)
        try:
            if phase is Phase.STOP:
                stopping = self._scope.spawn(runner.stop(why, within=limit), name=f"stop of {name}")
                if self._hurried.is_set():
                    runner.hurry()
                await finish(stopping)
                stopping.result()
                if runner.hooks is None:
                    return
                limit = times.limit(name, phase, now=self._clock.now())
            await self._limited(name, _step_back(phase, runner), limit)
        except TimeIsUpError:
            errors.append(StopTimeoutError(name, self._limits[name].stop))
            self._would_not_stop.add(name)
        except Exception as error:
            errors.append(error)
            if would_not_stop(error):
                self._would_not_stop.add(name)
            if not isinstance(error, LocumError):
                _log.error("%s failed in its %s", name, _HOOK_OF.get(phase, phase.value), exc_info=exc_info_of(error))
        finally:
            times.spend(name, self._clock.now() - begun)

    async def _limited(self, name: str, work: Coroutine[Any, Any, None], limit: float) -> None:
        await bounded(work, name=name, limit=limit, scope=self._scope)


_HOOK_OF: Final = {Phase.STOPPED: "close"}


async def _step_there(phase: Phase, runner: Runner) -> None:
    if phase is Phase.START:
        await runner.start()
    elif runner.hooks is not None:
        await (runner.hooks.starting() if phase is Phase.STARTING else runner.hooks.started())


async def _step_back(phase: Phase, runner: Runner) -> None:
    if phase is Phase.STOPPED:
        await runner.close()
    elif runner.hooks is not None:
        await (runner.hooks.stopping() if phase is Phase.STOPPING else runner.hooks.stop())
