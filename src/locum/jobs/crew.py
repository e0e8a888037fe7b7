"""What runs an instance's share of the jobs: looks what is due, claims, executes, and writes down how it ended.

Any instance fires; none leads. A look decides, claims and plans the next time in one transaction of the job database,
by whose clock a time is due. The pause until the next look is counted on this machine's own clock, and is never longer
than a second: a step of a wall clock makes nobody sleep.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Final

from locum.clock import seconds
from locum.errors import StoreError
from locum.jobs.database import opened
from locum.jobs.execution import Execution
from locum.jobs.finish import Finish
from locum.jobs.run import Run
from locum.scopes import Backoff, Scope, cancel_and_wait, happens, told_by_result
from locum.service import Stopping  # in a signature that is read when the program runs
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from locum.coordination.fence import Fence
    from locum.jobs.job import Roster
    from locum.jobs.ledger import Taken
    from locum.keeper.lease import Lease, LeaseSource
    from locum.service import Surroundings
    from locum.store import Sessions, Store

__all__ = ["Crew"]

_log = logger("jobs")
_LONGEST: Final = 1.0  # seconds between two looks: whatever is told, or not told
_SHORTEST: Final = 0.002
_IN_OTHER_HANDS: Final = 0.05
_TOGETHER: Final = 100
_ROUNDS_OF_PURGE: Final = 600
_FAREWELL: Final = 2.0  # seconds for the last ends to be written; what is not is recovered when the session is closed


class Crew:
    """Executes jobs on one instance.

    Promises: a run begins under a lease that covers it, with its fences raised; how it ended is written until answered.
    Assumes: the instance's session is kept, and closed only when nothing of it runs any more.
    On loss: the runs are cancelled and awaited; others go on with them when the session is closed.

    Args:
        roster: The jobs.
        url: The job database's URL.
        store: An open store, which tells of sessions.
        leases: Where this instance's leases come from.
        surroundings: The host.
        fences: The registered fences, which each run raises before its body.
    """

    def __init__(
        self,
        roster: Roster,
        url: str,
        *,
        store: Store,
        leases: LeaseSource,
        surroundings: Surroundings,
        fences: Callable[[], Iterable[Fence]],
    ) -> None:
        self._roster, self._url, self._store, self._leases = roster, url, store, leases
        self._surroundings, self._fences = surroundings, fences
        self._clock = surroundings.clock
        self._here: dict[str, Execution] = {}
        self._ended: list[tuple[Run, Finish]] = []
        self._stuck: set[str] = set()
        self._nudge, self._has_ended, self._all_written = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._all_written.set()
        self._backoff = Backoff(0.1, 2.0)
        self._rounds = self._looked_after = 0
        self._unknown: dict[str, int] = {}

    async def run(self, stopping: Stopping) -> None:
        """Execute what is due until it is asked to end; what runs then may end within the service's `stop_timeout`."""
        async with (
            opened(self._url, namespace=self._store.namespace) as database,
            Scope("jobs", on_error=told_by_result) as scope,
        ):
            self._database, self._scope = database, scope
            await database.transact(lambda db: database.ledger.declare(db, self._roster.jobs.values()))
            stopping.ready()
            asked = scope.spawn(self._hear(stopping), name="asked to end")
            writing = scope.spawn(self._write_ends(), name="ends of runs")
            try:
                while not stopping.stopping:
                    stopping.beat()
                    await self._look(stopping)
                await self._see_out(stopping)
            finally:
                asked.cancel()
                for execution in self._here.values():
                    execution.stop()
                await self._all_ended()
                await happens(self._all_written.wait(), within=_FAREWELL)
                await cancel_and_wait(writing)

    # -- looking

    async def _look(self, stopping: Stopping) -> None:
        """One look: recover, decide, claim, begin; then wait until something is to be done."""
        self._nudge.clear()
        lease = await self._lease(stopping)
        if lease is None:
            return
        try:
            await self._look_after(lease)
            taken = await self._take(lease)
        except StoreError as error:
            _log.warning("jobs wait for their database: %s", error)
            await self._pause(self._backoff.delay())
            return
        self._backoff.reset()
        for claimed, checkpoint in taken.runs:
            self._begin(Run(claimed, checkpoint, namespace=self._store.namespace, **self._under(lease)))
        for run_id in taken.cancelling & self._here.keys():
            self._here[run_id].cancel()
        await self._pause(self._until_next(taken))

    async def _pause(self, duration: float) -> None:
        """Wait, unless something has happened here that is a reason to look."""
        await happens(self._nudge.wait(), within=duration)

    async def _hear(self, stopping: Stopping) -> None:
        await stopping.asked()
        self._nudge.set()

    async def _take(self, lease: Lease) -> Taken:
        room = max(0, self._roster.at_once - len(self._here)) if lease.is_current else 0
        ledger = self._database.ledger
        return await self._database.transact(
            lambda db: ledger.take(
                db, self._roster.jobs, session=lease.session, instance=self._surroundings.instance, room=room
            )
        )

    def _until_next(self, taken: Taken) -> float:
        if taken.is_full:
            return 0.0
        if taken.next_at is None:
            return _LONGEST
        # what is due, and was not found, is in another's hands at this moment, or another release's
        shortest = _SHORTEST if taken.found else _IN_OTHER_HANDS
        return min(_LONGEST, max(shortest, (taken.next_at - taken.now) / 1e6))

    async def _lease(self, stopping: Stopping) -> Lease | None:
        """The lease that is there; `None` if it is to end first."""
        waiting = self._scope.spawn(self._leases.lease(), name="lease")
        asked = self._scope.spawn(stopping.asked(), name="asked to end")
        try:
            await asyncio.wait([waiting, asked], return_when=asyncio.FIRST_COMPLETED)
            return waiting.result() if waiting.done() else None
        finally:
            asked.cancel()
            waiting.cancel()

    async def _look_after(self, lease: Lease) -> None:
        """Once a second: let others go on with what dead sessions have claimed, and this one's own that nobody runs."""
        now = self._clock.now()
        if self._looked_after and seconds(now - self._looked_after) < _LONGEST:
            return
        self._looked_after = now
        ledger = self._database.ledger
        claiming = await self._database.transact(ledger.sessions)
        if lease.session in claiming:
            # an answer that was lost may have claimed for us what nobody here knows of (R17)
            known = {*self._here, *self._stuck, *(finish.id for _, finish in self._ended)}
            await self._database.transact(lambda db: ledger.recover(db, lease.session, but=known))
        others = [session for session in claiming if session != lease.session]
        for session in self._gone(await self._store.sessions(others), others) if others else ():
            many = await self._database.transact(functools.partial(ledger.recover, session=session))
            _log.warning("%d runs of a session that is over begin anew", many)
        self._rounds += 1
        if self._rounds % _ROUNDS_OF_PURGE == 1:
            await self._database.transact(ledger.purge)

    def _gone(self, sessions: Sessions, asked: list[str]) -> list[str]:
        """Those that are over: a tombstone says so, or nothing was known of one for the longest TTL (R11)."""
        if sessions.quarantined:
            return []
        now, gone, unknown = self._clock.now(), [], {}
        for session in asked:
            status = sessions.by_id[session]
            if status.is_closed:
                gone.append(session)
            elif not status.is_open:
                unknown[session] = self._unknown.get(session, now)
                if now - unknown[session] >= sessions.max_ttl:
                    gone.append(session)
        self._unknown = unknown
        return gone

    # -- executing

    async def _see_out(self, stopping: Stopping) -> None:
        """Begin nothing more, and let what runs end."""
        for execution in self._here.values():
            execution.run.ask_to_stop(within=stopping.deadline or 0.0)
        await self._all_ended()

    async def _all_ended(self) -> None:
        while self._here:
            self._nudge.clear()
            await self._nudge.wait()

    def _under(self, lease: Lease) -> dict[str, Any]:
        return {
            "instance": self._surroundings.instance,
            "lease": lease,
            "clock": self._clock,
            "keep": self._keep,
        }

    def _begin(self, run: Run) -> None:
        job = self._roster.jobs[run.name]
        execution = self._here[run.id] = Execution(
            job, run, leases=self._leases, surroundings=self._surroundings, fences=self._fences
        )
        self._scope.spawn(self._execute(execution), name=f"run of {run.name}")

    async def _execute(self, execution: Execution) -> None:
        run = execution.run
        finish: Finish | None
        try:
            finish = await execution.execute()
        except Exception as error:
            _log.exception("the run of %s for %s could not be executed", run.name, run.fire_at)
            finish = Finish(run.id, run.token, "given_back", f"{type(error).__name__}: {error}")
        if finish is None:
            self._stuck.add(run.id)
        else:
            self._ended.append((run, finish))
            self._all_written.clear()
        self._here.pop(run.id, None)
        self._has_ended.set()
        self._nudge.set()

    async def _write_ends(self) -> None:
        """Write down how runs ended: what ends while one is being written is written together, in the next."""
        backoff = Backoff(0.05, 2.0)
        while True:
            await self._has_ended.wait()
            self._has_ended.clear()
            while self._ended:
                session = self._ended[0][0].lease.session
                together = [one for one in self._ended if one[0].lease.session == session][:_TOGETHER]
                try:
                    await self._write(session, together)
                except StoreError as error:
                    _log.warning("the ends of %d runs are not written yet: %s", len(self._ended), error)
                    await self._clock.sleep(backoff.delay())
                    continue
                backoff.reset()
                self._ended = [one for one in self._ended if one not in together]
                self._nudge.set()  # what waits for their places may begin
            self._all_written.set()

    async def _write(self, session: str, together: list[tuple[Run, Finish]]) -> None:
        ledger = self._database.ledger
        finishes = [finish for _, finish in together]
        refused = await self._database.transact(lambda db: ledger.finish(db, finishes, session=session))
        for run, finish in together:
            if finish.id in refused:
                _log.warning(
                    "%s under token %d for %s was %s, and is another executor's by now: not written",
                    run.name,
                    run.token,
                    run.fire_at,
                    finish.outcome,
                )

    async def _keep(self, run: Run, value: str) -> bool:
        ledger = self._database.ledger
        return await self._database.transact(
            lambda db: ledger.checkpoint(
                db, run.id, job=run.name, token=run.token, session=run.lease.session, value=value
            )
        )
