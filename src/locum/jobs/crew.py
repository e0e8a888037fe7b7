"""What runs an instance's share of the jobs: looks what is due, claims, executes, and has written down how it ended.

Any instance fires; none leads. A look decides, claims and plans the next time in one transaction of the job database,
by whose clock a time is due. The pause until the next look is counted on this machine's own clock, and is never longer
than a second: a step of a wall clock makes nobody sleep.
"""

from __future__ import annotations

import asyncio
import functools
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from locum.clock import seconds
from locum.databases.hearing import hear
from locum.errors import OutcomeUnknownError, StoreError, StoreUnavailableError
from locum.jobs.aftercare import Aftercare
from locum.jobs.cover import Cover
from locum.jobs.database import opened
from locum.jobs.execution import Execution
from locum.jobs.finish import Finish
from locum.jobs.run import Run
from locum.jobs.scribe import End, Scribe
from locum.jobs.steadiness import Steadiness
from locum.jobs.telling import Telling
from locum.scopes import Backoff, Scope, cancel_and_wait, happens, told_by_result
from locum.service import Stopping  # in a signature that is read when the program runs
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from locum.coordination.fence import Fence
    from locum.jobs.database import JobDatabase
    from locum.jobs.job import Roster
    from locum.jobs.ledger import Taken
    from locum.jobs.steps import LiveRun
    from locum.keeper.lease import Lease, LeaseSource
    from locum.service import Surroundings
    from locum.store import Store

__all__ = ["Crew"]

_log = logger("jobs")
_LONGEST: Final = 1.0  # seconds between two looks: whatever is told, or not told
_SHORTEST: Final = 0.005  # what is due in between is decided together
_MANY: Final = 1000  # jobs that are new at once, of which the database is to take notice
_IN_OTHER_HANDS: Final = 0.05
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
        # by token too: an old body may still be ending when this very instance has claimed its run again
        self._here: dict[tuple[str, int], Execution] = {}
        self._stuck: set[tuple[str, int]] = set()
        self._enlisted = ""
        self._is_expected = True
        self._looked_at = 0
        self._nudge = asyncio.Event()
        self._scribe = Scribe(roster.jobs, self._clock, self._nudge.set)
        self._aftercare = Aftercare(store, self._clock)
        self._steadiness = Steadiness()
        self._backoff = Backoff(0.1, 2.0)

    def hurry(self) -> None:
        """An instance may be gone: look at once whether it has left something."""
        self._aftercare.hurry()
        self._nudge.set()

    async def run(self, stopping: Stopping) -> None:
        """Execute what is due until it is asked to end; what runs then may end within the service's `stop_timeout`."""
        async with Scope("jobs", on_error=told_by_result) as scope, AsyncExitStack() as stack:
            self._scope = scope
            asked = scope.spawn(self._hear(stopping), name="asked to end")
            database = await self._reach(stack, stopping)
            if database is None:
                return
            self._database = database
            stopping.ready()
            writing = scope.spawn(self._scribe.write(database), name="ends of runs")
            caring = scope.spawn(self._aftercare.purge(database, self._roster.kept), name="old history")
            watching = scope.spawn(self._aftercare.hear(self.hurry), name="who has come and gone")
            telling = scope.spawn(Telling(self._clock, self._runs).write(database), name="how far runs are")
            listening = scope.spawn(hear(database, self._nudge.set, self._clock), name="what others have for us")
            writing.add_done_callback(lambda _: self._nudge.set())
            try:
                while not stopping.stopping:
                    stopping.beat()
                    await self._look(stopping)
                    if writing.done():
                        writing.result()  # it never returns: it has failed, and no end would be written any more
                await self._see_out(stopping)
            finally:
                asked.cancel()
                for execution in self._here.values():
                    execution.stop()
                await self._all_ended()
                await self._scribe.done(within=_FAREWELL)
                await cancel_and_wait(listening)
                await cancel_and_wait(watching)
                await cancel_and_wait(caring)
                await cancel_and_wait(telling)
                await cancel_and_wait(writing)

    # -- looking

    async def _reach(self, stack: AsyncExitStack, stopping: Stopping) -> JobDatabase | None:
        """The job database, once it answers and knows the jobs; `None` if this is to end first."""
        backoff = Backoff(0.2, 15.0)
        while not stopping.stopping:
            self._nudge.clear()
            stopping.beat()
            try:
                database = await stack.enter_async_context(
                    opened(self._url, namespace=self._store.namespace, executes=True)
                )
                new = 0
                for jobs in self._roster.batches():
                    new += await database.transact(functools.partial(database.ledger.declare, jobs=jobs))
                if new >= _MANY:
                    await database.transact(database.ledger.survey)
            except (StoreUnavailableError, OutcomeUnknownError) as error:
                await stack.aclose()
                _log.warning("jobs wait for their database: %s", error)
                await self._pause(backoff.delay())
            else:
                return database
        return None

    async def _look(self, stopping: Stopping) -> None:
        """One look: decide, claim, begin, recover; then wait until something is to be done."""
        self._nudge.clear()
        self._looked_at = self._clock.now()
        lease = await self._lease(stopping)
        if lease is None:
            return
        try:
            await self._enlist(lease)
            taken = await self._take(lease)
        except StoreError as error:
            _log.warning("jobs wait for their database: %s", error)
            await self._pause(self._backoff.delay())
            return
        self._backoff.reset()
        await self._begin_all(taken, lease, stopping)
        for key in taken.cancelling & self._here.keys():
            self._here[key].cancel()
        if self._aftercare.is_due(has_claims=taken.has_claims):
            await self._care(lease)
        pause = self._until_next(taken)
        comes = None if taken.next_at is None else (taken.next_at - taken.now) / 1e6
        is_over = not await self._pause(pause)
        self._is_expected = taken.is_full or (comes is not None and comes <= (pause if is_over else 0.0))

    async def _care(self, lease: Lease) -> None:
        """Look after what others have left, and look again at once if that was something."""
        known = {*self._here, *self._scribe.pending}
        try:
            if await self._aftercare.look(self._database, lease, known=known, stuck=self._stuck):
                self._nudge.set()
        except StoreError as error:
            _log.warning("lost runs wait for a store: %s", error)

    async def _enlist(self, lease: Lease) -> None:
        """Under each session anew, say what is declared here."""
        if self._enlisted == lease.session:
            return
        ledger, instance = self._database.ledger, self._surroundings.instance
        await self._database.transact(
            lambda db: ledger.enlist(db, self._roster.jobs, session=lease.session, instance=instance)
        )
        self._enlisted = lease.session

    async def _pause(self, duration: float) -> bool:
        """Wait, unless something has happened here that is a reason to look; for what happens together, once.

        Returns:
            Whether something has.
        """
        if not duration or not await happens(self._nudge.wait(), within=duration):
            return False
        await self._clock.sleep(max(0.0, _SHORTEST - seconds(self._clock.now() - self._looked_at)))
        return True

    async def _hear(self, stopping: Stopping) -> None:
        await stopping.asked()
        self._nudge.set()

    async def _take(self, lease: Lease) -> Taken:
        room = self._room if lease.is_current else 0
        ledger, begun, taken = self._database.ledger, self._clock.now(), None
        mine: dict[str, Any] = {"session": lease.session, "room": room, "patience": self._roster.patience}
        going = Counter(execution.run.name for execution in self._here.values())
        if not (self._is_expected and room):  # one question tells whether there is anything to take
            taken = await self._database.ask(functools.partial(ledger.peek, **mine))
        if taken is None:
            begun = self._clock.now()
            instance = self._surroundings.instance
            taken = await self._database.transact(
                functools.partial(ledger.take, jobs=self._roster.jobs, instance=instance, going=going, **mine)
            )
        stepped = self._steadiness.step(taken.now, begun, self._clock.now())
        if stepped:
            _log.warning(
                "the job database's clock was set %s by %.1f s: what is due is due by it",
                "forward" if stepped > 0 else "back",
                abs(stepped),
            )
        return taken

    @property
    def _room(self) -> int:
        """How many runs may begin here."""
        return max(0, self._roster.at_once - len(self._here))

    def _until_next(self, taken: Taken) -> float:
        if taken.is_full:
            return 0.0
        if taken.next_at is None:
            return _LONGEST
        left = (taken.next_at - taken.now) / 1e6
        if not self._room:  # what ends here says so
            return min(_LONGEST, max(_SHORTEST, left + self._roster.patience))
        if taken.has_moved:
            return min(_LONGEST, max(_SHORTEST, left))
        # what is due, and about which nothing could be decided, is in another's hands at this moment
        return min(_LONGEST, left) if left > 0 else _IN_OTHER_HANDS

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

    # -- executing

    async def _see_out(self, stopping: Stopping) -> None:
        """Begin nothing more, and let what runs end."""
        for execution in self._here.values():
            execution.run.ask_to_stop(within=stopping.deadline or 0.0)
        await self._all_ended()

    def _runs(self) -> Iterable[Run]:
        return [execution.run for execution in self._here.values()]

    async def _all_ended(self) -> None:
        while self._here:
            self._nudge.clear()
            await self._nudge.wait()

    async def _begin_all(self, taken: Taken, lease: Lease, stopping: Stopping) -> None:
        """Have the runs begin that were claimed; or give them back, if there is no lease any more, or it is to end."""
        if not taken.runs:
            return
        tokens = [claimed.token for claimed, _ in taken.runs]
        cover = None if stopping.stopping else await Cover.over(self._leases, lease, tokens)
        for claimed, checkpoint in taken.runs:
            if cover is None:
                self._end(claimed, lease, Finish(claimed.id, claimed.token, "given_back", has_begun=False))
            else:
                self._begin(claimed, checkpoint, lease, cover)

    def _begin(self, claimed: LiveRun, checkpoint: str | None, lease: Lease, cover: Cover) -> None:
        run = Run(
            claimed,
            checkpoint,
            namespace=self._store.namespace,
            instance=self._surroundings.instance,
            lease=lease,
            clock=self._clock,
            keep=self._keep,
            results=self._results,
        )
        execution = self._here[claimed.id, claimed.token] = Execution(
            self._roster.jobs[claimed.job],
            run,
            leases=self._leases,
            surroundings=self._surroundings,
            fences=self._fences,
            scope=self._scope,
            on_end=functools.partial(self._has_ended, claimed, lease, cover),
        )
        execution.begin()

    def _has_ended(self, claimed: LiveRun, lease: Lease, cover: Cover, finish: Finish | None) -> None:
        if finish is None:
            self._stuck.add((claimed.id, claimed.token))
        else:
            self._end(claimed, lease, finish)
        del self._here[claimed.id, claimed.token]
        cover.one_has_ended()
        self._nudge.set()

    def _end(self, claimed: LiveRun, lease: Lease, finish: Finish) -> None:
        self._scribe.add(End(claimed, lease.session, finish))

    async def _keep(self, run: Run, value: str) -> bool:
        ledger, token, session = self._database.ledger, run.token, run.lease.session
        if run.part is not None:
            return await self._database.transact(
                lambda db: ledger.checkpoint_slice(db, run.id, token=token, session=session, value=value)
            )
        return await self._database.transact(
            lambda db: ledger.checkpoint(db, run.id, job=run.name, token=token, session=session, value=value)
        )

    async def _results(self, run: Run) -> list[str | None]:
        return await self._database.transact(lambda db: self._database.ledger.results(db, run.id))
