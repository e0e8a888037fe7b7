"""The keeper as a thread, for processes that are not Locum's: a web application, a script, a notebook (R6).

The thread has an event loop and a connection to the store of its own, so that the session lives on while the
application's loop is busy. The process is its own worker: nobody stands above it who could end it. With enforcement
`cancel` a term whose time is up is over (`is_current`, `check()` and the token say so) and its task is cancelled; with
`kill` the kernel's timer stands in this very process besides.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

from locum.clock import seconds
from locum.errors import ConfigurationError, CoordinationError, SchemaError
from locum.identity import MachineKey, ProcessId, host_name
from locum.keeper.budget import Budget
from locum.keeper.cell import Cell
from locum.keeper.complaint import Complaint
from locum.keeper.hang import HangWatch, check_hang_timeout, look_after_loop, turn_interval
from locum.keeper.keeping import Keeping
from locum.keeper.leases import Leases
from locum.keeper.memory import Memory
from locum.keeper.owner import ENFORCEMENTS, Ending, Owner
from locum.keeper.session import Loss
from locum.keeper.timer import KillTimer
from locum.registry import open_when_there
from locum.scopes import Scope, cancel_and_wait, happens, run, told_by_result
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.clock import Clock
    from locum.keeper.lease import Lease
    from locum.keeper.session import Session
    from locum.store import Seen, Store
    from locum.telemetry import Events

__all__ = ["KeeperClosedError", "KeeperThread"]

_log = logger("keeper.thread")
_PATIENCE: Final = 1.5  # TTLs: 0.85 for bodies that do not end, and a sixth each for the last calls


class KeeperClosedError(CoordinationError):
    """The coordinator was closed while something waited for it."""

    def __init__(self) -> None:
        super().__init__("the coordinator is closed: nothing can be won or held under it any more")


class KeeperThread(Leases):
    """The leases of a process that keeps them itself; everything here runs in the application's loop.

    Args:
        make_store: Makes the thread's own store, not yet opened.
        name: The instance's name.
        ttl: The wanted TTL in nanoseconds.
        enforcement: `cancel` or `kill`.
        hang_timeout: Seconds after which an application whose event loop does not turn is given up.
        clock: The clock on which the leases are counted.
        scope: Owns the tasks of this event loop.
        events: Told of sessions lost and had again, and of other instances.

    Raises:
        ConfigurationError: There is no such enforcement.
    """

    def __init__(
        self,
        make_store: Callable[[], Store],
        name: str,
        ttl: int,
        *,
        enforcement: str,
        hang_timeout: float,
        clock: Clock,
        scope: Scope,
        events: Events,
    ) -> None:
        if enforcement not in ENFORCEMENTS:
            known = " or ".join(ENFORCEMENTS)
            raise ConfigurationError(f"enforcement={enforcement!r} is not known: it is {known}")
        super().__init__(Cell(), clock=clock, scope=scope, events=events)
        self._ttl = ttl
        self.turn_every = turn_interval(seconds(ttl), check_hang_timeout(hang_timeout))
        self._ended = asyncio.Event()
        self._handles = 0
        self._asked: set[asyncio.Future[bool]] = set()
        self._is_closed = False
        self._keeper = _Keeper(self, make_store, name, ttl, enforcement, hang_timeout, self._cell, clock)

    async def open(self) -> Lease:
        """Start to keep, and wait for the first session.

        Raises:
            ConfigurationError: The store can never be used so.
            SchemaError: It was written by a newer release.
            UnsupportedError: `kill` in PID 1, which ignores its own timer.
        """
        self._keeper.start(self._ended)
        return await self.lease()

    async def arm(self, lease: Lease, *, token: int) -> int | None:
        """Have the deadline enforced from here on: a body is about to run (R6)."""
        self._origin.check()
        if lease.is_lost:
            return None  # and perhaps nobody is left who would answer
        self._handles += 1
        handle = self._handles
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked.add(answer)
        self._keeper.do(self._keeper.arm, handle, lease.generation, token, answer)
        try:
            return handle if await answer else None
        except asyncio.CancelledError:
            self.disarm(handle)
            raise
        finally:
            self._asked.discard(answer)

    def disarm(self, handle: int) -> None:
        """The body has ended."""
        self._origin.check()
        self._keeper.do(self._keeper.disarm, handle)

    def give_up(self, lease: Lease, why: str) -> None:
        """Close the session although a body still runs under it, which counts as ended (R19)."""
        self._origin.check()
        self._keeper.do(self._keeper.forsake, lease.generation, why)

    def limit(self, *, hang_timeout: float) -> None:
        """So long this loop may not turn from now on."""
        self.turn_every = turn_interval(seconds(self._ttl), hang_timeout)
        self._keeper.do(self._keeper.limit, hang_timeout)

    def finish(self, error: Exception, why: str) -> None:
        """There will be no lease any more, and nobody who would answer."""
        super().finish(error, why)
        for answer in self._asked:
            _settle(answer, False)

    @property
    def is_closed(self) -> bool:
        """Whether nothing is to be told any more."""
        return self._is_closed

    async def close(self) -> None:
        """Close the session, after the last body has ended or counts as ended (R7, R19), and end the thread."""
        self._origin.check()
        if self._is_closed:
            return
        # each of its calls has a deadline; one that hangs in the kernel is left behind with its thread
        limit = _PATIENCE * seconds(self._ttl) + 1.0
        try:
            if not self._keeper.leave():
                pass  # it was never started
            elif await happens(self._ended.wait(), within=limit):
                self._keeper.join()
            else:
                _log.warning("the keeper of %s did not end in time: its session will be seen silent", self._keeper.name)
        finally:
            self._is_closed = True
            self.finish(KeeperClosedError(), "was stopped")
            self.dispose()


class _Keeper:
    """What runs in the thread; but for what others call from outside, everything here runs in its loop (a `Charge`)."""

    def __init__(
        self,
        leases: KeeperThread,
        make_store: Callable[[], Store],
        name: str,
        ttl: int,
        enforcement: str,
        hang_timeout: float,
        cell: Cell,
        clock: Clock,
    ) -> None:
        self.name = name
        self._leases, self._make_store, self._ttl, self._cell, self._clock = leases, make_store, ttl, cell, clock
        self._hang_timeout, self._enforcement = hang_timeout, enforcement
        self._timer: KillTimer | None = None
        self._watch: HangWatch | None = None
        self._key = MachineKey.of_this_process()
        me = ProcessId.of_this_process()
        self._owner = Owner(name, host_name(), self._key, keeper=me, worker=me, enforcement=enforcement)
        self._theirs = asyncio.get_running_loop()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keeping: Keeping | None = None
        self._stop = asyncio.Event()

    # -- from outside the thread

    def start(self, ended: asyncio.Event) -> None:
        """Start the thread.

        Args:
            ended: Set, in the application's loop, when it has ended.
        """
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, args=(self._loop, ended), name="locum-keeper", daemon=True)
        self._thread.start()

    def do(self, what: Callable[..., object], *given: Any) -> None:
        """Have something done in the thread."""
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(what, *given)
        except RuntimeError:
            pass  # it has ended, and told so

    def leave(self) -> bool:
        """Have the thread close its session and end.

        Returns:
            Whether it was ever started.
        """
        self.do(self._stop.set)
        return self._loop is not None

    def join(self) -> None:
        """Wait for the thread's last instruction, which told that it has ended."""
        self._thread.join(1.0)

    # -- in the thread

    def _main(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        error: Exception = KeeperClosedError()
        try:
            run(self._keep(), loop=loop)
        except (ConfigurationError, SchemaError) as failure:
            error = failure
        except Exception as failure:
            error = failure
            _log.error("the keeper of %s failed", self.name, exc_info=failure)
        self._post(self._leases.finish, error, "lost its keeper")
        self._post(ended.set)

    async def _keep(self) -> None:
        store = self._make_store()
        if self._enforcement == "kill":
            self._timer = KillTimer()
        async with Scope(f"keeper of {self.name}", on_error=told_by_result) as scope:
            stop = scope.spawn(self._stop.wait(), name="stop")
            self._watch = HangWatch(seconds(self._ttl), self._hang_timeout)
            scope.spawn(look_after_loop(self._watch, self, clock=self._clock), name="turns of the application's loop")
            work = scope.spawn(self._work(store), name="work")
            try:
                await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
                await cancel_and_wait(work)
                if not work.cancelled():
                    work.result()
            finally:
                await self._close(store)

    async def _work(self, store: Store) -> None:
        complaint = Complaint(self.name, self._clock)
        store.call_timeout = Budget.of(self._ttl).call_seconds
        await open_when_there(store, clock=self._clock, told=complaint.tell)
        complaint.clear()
        self._keeping = Keeping(self, self.name, cell=self._cell, clock=self._clock, timer=self._timer, memory=Memory())
        await self._keeping.keep(store, self._owner, self._ttl)

    async def _close(self, store: Store) -> None:
        self._cell.end()
        keeping = self._keeping
        if keeping is not None:
            if keeping.has_bodies:
                _log.warning("%s is closed while work runs under it, which has until its deadline to end.", self.name)
                await self.end_bodies(Loss("it was closed while work ran under it", certain=False))
            keeping.disarm_all()
            keeping.close()
            if keeping.session is not None:
                ending = Ending("stopped", self._clock.now(), str(self._key))
                await keeping.session.close(ending, patience=keeping.session.budget.call_seconds)
        if self._timer is not None:
            self._timer.close()
        await store.close()

    def arm(self, handle: int, generation: int, token: int, answer: asyncio.Future[bool]) -> None:
        """A body is about to run."""
        ok = self._keeping is not None and self._keeping.arm(handle, generation, token)
        self._post(_settle, answer, ok)

    def limit(self, hang_timeout: float) -> None:
        """So long the application's loop may not turn."""
        self._hang_timeout = hang_timeout
        if self._watch is not None:
            self._watch.limit(hang_timeout)

    def disarm(self, handle: int) -> None:
        """A body has ended."""
        if self._keeping is not None:
            self._keeping.disarm(handle)

    def forsake(self, generation: int, why: str) -> None:
        """End the session, whatever still runs under it."""
        if self._keeping is not None:
            self._keeping.forsake(generation, why)

    def _post(self, what: Callable[..., object], *given: Any) -> None:
        """Have something done in the application's loop."""
        try:
            self._theirs.call_soon_threadsafe(self._bring, what, given)
        except RuntimeError:
            pass  # it is closed: nobody is left who could be told

    def _bring(self, what: Callable[..., object], given: tuple[Any, ...]) -> None:
        if not self._leases.is_closed:  # a thread that was left behind may speak long after
            what(*given)

    # -- what is kept (`locum.keeper.keeping.Charge`)

    def may_beat(self) -> bool:
        """Whoever stops this process stops its keeper too."""
        return True

    def opened(self, session: Session, generation: int, seen: Seen) -> None:
        """A session is there."""
        self._post(self._leases.begin, session.id, generation, session.budget, session.owner, seen)

    def beaten(self) -> None:
        """A beat was answered."""

    def overdue(self) -> None:
        """A body still runs at 80 % of the TTL: with `kill` the kernel ends it at 85 %, with `cancel` it was told."""

    async def end_bodies(self, loss: Loss) -> None:
        """With `kill` this process ends; with `cancel` what has not ended by the deadline counts as ended (R5, R19)."""
        if self._timer is not None:
            _log.error("%s ends its process: its session is over (%s), and work runs on under it.", self.name, loss.why)
            os.kill(os.getpid(), signal.SIGKILL)
        self.lost(f"lost its session: {loss.why}")
        # one that was given up takes the others with it, and those may just be ending
        if not loss.certain and self._keeping is not None and self._keeping.session is not None:
            session = self._keeping.session
            await self._keeping.bodies_end(by=session.budget.kill_at(session.sent))

    def lost(self, why: str) -> None:
        """The session is lost."""
        self._post(self._leases.lose, why)

    # -- whose loop is watched (`locum.keeper.hang.Loop`)

    @property
    def turned_at(self) -> int:
        """When the application's loop last turned."""
        return self._cell.turned_at

    @property
    def is_stopped(self) -> bool:
        """Whoever stops the application stops this thread too."""
        return False

    def tell_of_hang(self, hung: float) -> None:
        """Say where all threads stand."""
        _log.warning(
            "%s: the event loop has not turned for %.1f s: something in it blocks. Where it stands:", self.name, hung
        )
        faulthandler.dump_traceback(all_threads=True)

    def end_hung(self, hung: float) -> None:
        """With `kill` the process ends; with `cancel` its session is closed, so that others may take over."""
        why = f"was given up: its event loop had not turned for {hung:.1f} s"
        _log.error("%s %s.", self.name, why)
        if self._timer is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._keeping is not None:
            self._keeping.forsake(self._keeping.generation, why)

    def joined(self, owner: Owner) -> None:
        """Another instance is there."""
        self._post(self._leases.joined, owner.name, owner.machine)

    def gone(self, owner: Owner, why: str) -> None:
        """Another instance is gone."""
        self._post(self._leases.gone, owner.name, why)


def _settle(answer: asyncio.Future[bool], ok: bool) -> None:
    if not answer.done():
        answer.set_result(ok)
