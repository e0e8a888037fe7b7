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
from locum.scopes import cancel_and_wait
from locum.services.bodies import Body
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from locum.coordination.fence import Fence
    from locum.jobs.finish import Outcome
    from locum.jobs.job import Job
    from locum.jobs.run import Run
    from locum.keeper.lease import LeaseSource
    from locum.scopes import Scope
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
    """Executes a run once: its body has a task of its own, and others are made only to wait for fences, or for its end.

    Args:
        job: The job.
        run: The run, which was claimed for this.
        leases: Enforce its lease's deadline.
        surroundings: The host.
        fences: What is raised before its body.
        scope: Owns the tasks.
        on_end: Told once what is to be written down; `None` if its body would not end: the close of the session tells
            then (R19).
    """

    def __init__(
        self,
        job: Job,
        run: Run,
        *,
        leases: LeaseSource,
        surroundings: Surroundings,
        fences: Callable[[], Iterable[Fence]],
        scope: Scope,
        on_end: Callable[[Finish | None], object],
    ) -> None:
        self.run = run
        self._job, self._leases, self._surroundings, self._fences = job, leases, surroundings, fences
        self._clock, self._scope, self._on_end = surroundings.clock, scope, on_end
        self._why = _Why.ITSELF
        self._told: asyncio.Future[None] | None = None
        self._body: Body | None = None
        self._ending: asyncio.Task[None] | None = None
        self._limits: asyncio.TimerHandle | None = None
        self._ended: dict[str, Any] = {}

    def cancel(self) -> None:
        """Somebody has asked for its end."""
        self._tell(_Why.CANCELLED)

    def stop(self) -> None:
        """The host ends: others go on with it."""
        self._tell(_Why.STOPPED)

    def begin(self) -> None:
        """Begin it: where nothing has to be made ready, its body is about to run."""
        self.run.when_lost(lambda _: self._tell(_Why.LOST))
        try:
            self._check_params()
        except ScheduleError as unfit:  # whoever asked for it did not have the job; it would be the same each time
            self._over(self._finish("dead", unfit), "was not begun")
            return
        except Exception as error:  # a validator of the user's may raise whatever it likes
            self._over(self._unexecuted(error), "was not begun")
            return
        fences = list(self._fences())
        if fences:
            self._scope.spawn(self._begin_behind(fences), name=f"begin of a run of {self._job.name}")
        else:
            self._begin_body()

    # -- inside

    def _tell(self, why: _Why) -> None:
        if self._why is _Why.ITSELF:
            self._why = why
        if self._told is not None and not self._told.done():
            self._told.set_result(None)
        body = self._body
        if body is not None and not body.task.done() and self._ending is None:
            self._ending = self._scope.spawn(self._end(body), name=f"end of a run of {self._job.name}")

    def _over(self, finish: Finish | None, why: str = "is over") -> None:
        if self._limits is not None:
            self._limits.cancel()
        self.run.end(why)
        self._on_end(finish)

    async def _begin_behind(self, fences: Iterable[Fence]) -> None:
        try:
            unready = await self._make_ready(fences)
        except Exception as error:
            self._over(self._unexecuted(error), "was not begun")
            return
        if unready is not None:
            self._over(unready, "was not begun")
        else:
            self._begin_body()

    async def _make_ready(self, fences: Iterable[Fence]) -> Finish | None:
        """Raise the fences, for as long as the lease is certain; what is to be written down if it cannot begin.

        What is out of order here is not the run's fault: it is not counted as a failure, and is tried again.
        """
        told = self._told = asyncio.get_running_loop().create_future()
        if self._why is not _Why.ITSELF:
            told.set_result(None)
        raising = self._scope.spawn(self._raise(fences), name=f"fences of a run of {self._job.name}")
        await asyncio.wait([raising, told], timeout=self.run.remaining, return_when=asyncio.FIRST_COMPLETED)
        if not raising.done():
            if not await cancel_and_wait(raising, timeout=self._job.stop_timeout):
                self._scope.forget(raising)
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

    def _begin_body(self) -> None:
        if not self.run.is_current:  # the timer stands, and only then the clock is looked at (R15)
            self._over(self._unbegun())
            return
        self._body = Body(self._job.name, self._work(), scope=self._scope)
        self._body.task.add_done_callback(self._body_has_ended)
        if self._job.limit is not None or self._job.stall is not None:
            self._watch_limits(self._clock.now())
        if self._why is not _Why.ITSELF:
            self._tell(self._why)

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

    def _watch_limits(self, begun: int) -> None:
        """See whether one of its limits is reached, and look again when one may be."""
        now, job = self._clock.now(), self._job
        ends = {}
        if job.limit is not None:
            ends[_Why.TOO_LONG] = begun + nanoseconds(job.limit)
        if job.stall is not None:
            ends[_Why.STALLED] = self.run.beaten_at + nanoseconds(job.stall)
        over = [why for why, end in ends.items() if now >= end]
        if over:
            self._tell(over[0])
            return
        left = seconds(min(ends.values()) - now)
        self._limits = asyncio.get_running_loop().call_later(left, self._watch_limits, begun)

    def _body_has_ended(self, task: asyncio.Task[object]) -> None:
        """Whoever ends it judges it; if that is itself, it is judged here, unless nobody is left to hear of it."""
        del task
        if self._body is not None and self._ending is None and not self._scope.is_closed:
            self._conclude(self._body, _Why.ITSELF)

    async def _end(self, body: Body) -> None:
        """Cancel the body; what ignores that ends with its process, or counts as ended with its session (R19)."""
        why = self._why if self.run.is_current else _Why.LOST
        if body.task.done():
            why = _Why.ITSELF  # it was faster
        try:
            await body.end(timeout=self._job.stop_timeout)
        except StopTimeoutError:
            told = f"a run of {self._job.name} {why.value}, and would not end within {self._job.stop_timeout:g} s"
            self._leases.give_up(self.run.lease, told)
            self._surroundings.fail(told, exit_codes.WOULD_NOT_STOP)
            self._over(None)
        else:
            self._conclude(body, why)

    def _conclude(self, body: Body, why: _Why) -> None:
        try:
            finish = self._judge(body, why)
        except Exception as error:
            finish = self._unexecuted(error)
        self._over(finish)

    def _unexecuted(self, error: Exception) -> Finish:
        """It has failed, by no fault of its body."""
        _log.exception("the run of %s for %s could not be executed", self._job.name, self.run.fire_at)
        return self._failed(error)

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
