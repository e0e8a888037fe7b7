"""One execution of a run: made ready, watched, ended, and what is to be written down about it."""

from __future__ import annotations

import asyncio
import enum
import json
from typing import TYPE_CHECKING, Any, Final

from locum import exit_codes
from locum.clock import nanoseconds, seconds
from locum.errors import (
    HoldEndedError,
    JobTimeoutError,
    ScheduleError,
    StaleRunError,
    StaleTermError,
    StopTimeoutError,
)
from locum.jobs.apart import call_apart
from locum.jobs.finish import Finish
from locum.jobs.parts import as_json, parts_of
from locum.scopes import Scope, cancel_and_wait, told_by_result
from locum.services.bodies import Body
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from locum.coordination.fence import Fence
    from locum.jobs.finish import Outcome
    from locum.jobs.job import Job
    from locum.jobs.run import Run
    from locum.keeper.lease import LeaseSource
    from locum.service import Surroundings

__all__ = ["Execution"]

_log = logger("jobs")
_AGAIN: Final = 5.0  # seconds until what could not begin is tried again


class _Why(enum.Enum):
    """Why a body is ended, or that it has ended."""

    ITSELF = "by itself"
    LOST = "lost its lease"
    CANCELLED = "was cancelled"
    STOPPED = "its host stops"
    TOO_LONG = "took longer than its limit"
    STALLED = "did not say for too long that it goes on"


class Execution:
    """Executes a run once.

    Args:
        job: The job.
        run: The run, which was claimed for this.
        leases: Enforce its lease's deadline.
        surroundings: The host.
        fences: What is raised before its body.
    """

    def __init__(
        self,
        job: Job,
        run: Run,
        *,
        leases: LeaseSource,
        surroundings: Surroundings,
        fences: Callable[[], Iterable[Fence]],
    ) -> None:
        self.run = run
        self._job, self._leases, self._surroundings, self._fences = job, leases, surroundings, fences
        self._clock = surroundings.clock
        self._told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._why = _Why.ITSELF
        self._ended: dict[str, Any] = {}

    def cancel(self) -> None:
        """Somebody has asked for its end."""
        self._tell(_Why.CANCELLED)

    def stop(self) -> None:
        """The host ends: others go on with it."""
        self._tell(_Why.STOPPED)

    async def execute(self) -> Finish | None:
        """Execute it.

        Returns:
            What is to be written down; `None` if its body would not end: the close of the session tells then (R19).
        """
        async with Scope(f"run of {self._job.name}", on_error=told_by_result) as scope:
            self.run.when_lost(lambda _: self._tell(_Why.LOST))
            unready = await self._make_ready(scope)
            if unready is not None:
                self.run.end("was not begun")
                return unready
            try:
                # the timer stands, and only then the clock is looked at (R15)
                return await self._execute(scope) if self.run.is_current else self._unbegun()
            finally:
                self.run.end("is over")

    def failed(self, error: BaseException) -> Finish:
        """It has failed: what is to be written down."""
        return self._failed(error)

    # -- inside

    def _tell(self, why: _Why) -> None:
        if self._why is _Why.ITSELF:
            self._why = why
        if not self._told.done():
            self._told.set_result(None)

    async def _make_ready(self, scope: Scope) -> Finish | None:
        """Raise the fences, for as long as the lease is certain; what is to be written down if it cannot begin.

        What is out of order here is not the run's fault: it is not counted as a failure, and is tried again.
        """
        try:
            self._check_params()
        except ScheduleError as unfit:  # whoever asked for it did not have the job; it would be the same each time
            return self._finish("dead", unfit)
        fences = list(self._fences())
        if not fences:
            return None
        raising = scope.spawn(self._raise(fences), name="fences")
        await asyncio.wait([raising, self._told], timeout=self.run.remaining, return_when=asyncio.FIRST_COMPLETED)
        if not raising.done():
            if not await cancel_and_wait(raising, timeout=self._job.stop_timeout):
                scope.forget(raising)
            if self._why in (_Why.CANCELLED, _Why.STOPPED):
                return self._finish("cancelled") if self._why is _Why.CANCELLED else self._unbegun()
            return self._unbegun(TimeoutError("a fence was not raised while the lease was certain"))
        error = raising.exception()
        if isinstance(error, StaleTermError) and error.highest is not None:
            return self._finish("given_back", error, floor=error.highest, has_begun=False)
        return None if error is None else self._unbegun(error)

    def _check_params(self) -> None:
        job, run = self._job, self.run
        if job.demands_form and (run.part is not None or not callable(job.slices)):
            job.checked(json.dumps(run.params))

    async def _raise(self, fences: Iterable[Fence]) -> None:
        for fence in fences:
            await self.run.raise_fence(fence)

    async def _execute(self, scope: Scope) -> Finish | None:
        body = Body(self._job.name, self._work(), scope=scope)
        why = await self._watch(body)
        if why is not _Why.ITSELF and not await self._end(body, why):
            return None
        return self._judge(body, why)

    async def _work(self) -> None:
        """What this run is about: a slice or a whole run, to be cut, or to be completed."""
        job, run = self._job, self.run
        if job.slices is None or run.part is not None:
            if job.executor == "process":
                returned = await call_apart(job.body, run)
            else:
                returned = await self._surroundings.call(job.body, run)
            if run.part is not None:
                self._ended = {"result": as_json(returned, f"what a slice of {job.name} returned")}
        elif run.parts is None:
            planned = await self._surroundings.call(job.slices, run) if callable(job.slices) else [{}] * job.slices
            self._ended = {"parts": parts_of(job, run, planned), "completes": job.on_complete is not None}
        elif job.on_complete is not None:
            await self._surroundings.call(job.on_complete, run)

    async def _watch(self, body: Body) -> _Why:
        """Wait until it has ended, or is to be ended."""
        begun = self._clock.now()
        awaited: list[asyncio.Future[Any]] = [body.task, self._told]
        while True:
            await asyncio.wait(awaited, timeout=self._patience(begun), return_when=asyncio.FIRST_COMPLETED)
            if body.task.done():
                return _Why.ITSELF
            if not self.run.is_current:
                return _Why.LOST
            if self._told.done():
                return self._why
            now = self._clock.now()
            if self._job.limit is not None and now >= begun + nanoseconds(self._job.limit):
                return _Why.TOO_LONG
            if self._job.stall is not None and now >= self.run.beaten_at + nanoseconds(self._job.stall):
                return _Why.STALLED

    def _patience(self, begun: int) -> float | None:
        """Seconds until one of its limits may have been reached."""
        limits = []
        if self._job.limit is not None:
            limits.append(begun + nanoseconds(self._job.limit))
        if self._job.stall is not None:
            limits.append(self.run.beaten_at + nanoseconds(self._job.stall))
        return max(0.0, seconds(min(limits) - self._clock.now())) if limits else None

    async def _end(self, body: Body, why: _Why) -> bool:
        """Cancel the body; what ignores that ends with its process, or counts as ended with its session (R19).

        Returns:
            Whether it has ended.
        """
        try:
            await body.end(timeout=self._job.stop_timeout)
        except StopTimeoutError:
            told = f"a run of {self._job.name} {why.value}, and would not end within {self._job.stop_timeout:g} s"
            self._leases.give_up(self.run.lease, told)
            self._surroundings.fail(told, exit_codes.WOULD_NOT_STOP)
            return False
        return True

    def _judge(self, body: Body, why: _Why) -> Finish:
        match why:
            case _Why.LOST | _Why.STOPPED:
                return self._finish("given_back")
            case _Why.CANCELLED:
                return self._finish("cancelled")
            case _Why.TOO_LONG | _Why.STALLED:
                limit = self._job.limit if why is _Why.TOO_LONG else self._job.stall
                return self._failed(JobTimeoutError(self._job.name, f"{why.value} of {limit:g} s"))
        if body.task.cancelled() and self.run.is_asked:
            return self._finish("given_back")  # it was asked to end, and says that it is not done
        if body.task.cancelled():
            return self._failed(RuntimeError("the body was cancelled, and not by Locum"))
        error = body.error
        if error is None:
            return self._finish("cut" if "parts" in self._ended else "succeeded", **self._ended)
        if self._is_refusal(error):
            return self._finish("given_back", error, floor=getattr(error, "highest", 0))
        return self._failed(error)

    def _is_refusal(self, error: BaseException) -> bool:
        """Whether it says that this very run is not ours any more: another thing that the body held may be lost, too.

        A refusal that does not say by whom would come again at once, and for ever: that is a failure.
        """
        if isinstance(error, StaleTermError):
            return error.token == self.run.token and error.highest is not None
        if isinstance(error, StaleRunError):
            return error.token == self.run.token
        return isinstance(error, HoldEndedError) and error.scope == self.run.scope

    def _failed(self, error: BaseException) -> Finish:
        pause = self._job.retry.pause(error, failures=self.run.failures + 1)
        what = "is given up" if pause is None else f"is tried again in {pause:.1f} s"
        _log.error("the run of %s for %s failed, and %s", self._job.name, self.run.fire_at, what, exc_info=error)
        return self._finish("dead" if pause is None else "again", error, pause=pause or 0.0)

    def _unbegun(self, error: BaseException | None = None) -> Finish:
        """It has not begun: whoever comes may have it, after a pause if something was out of order."""
        if error is not None:
            _log.error("the run of %s for %s cannot begin yet", self._job.name, self.run.fire_at, exc_info=error)
        return self._finish("given_back", error, pause=0.0 if error is None else _AGAIN, has_begun=False)

    def _finish(self, outcome: Outcome, error: BaseException | None = None, **how: Any) -> Finish:
        told = "" if error is None else f"{type(error).__name__}: {error}"
        return Finish(self.run.id, self.run.token, outcome, told, **how)
