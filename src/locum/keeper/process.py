"""The keeper as the worker's parent: holds the session, and ends what overlaps (R6, R9, R10).

One `Keeper` lives as long as the instance; for each life of its worker it runs one `_Life`: spawn, hello, session,
start gate, beat; then the end: the tree killed and reaped, the session closed, and only then a new worker under a new
session. It imports nothing of the user's.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from locum import exit_codes
from locum.clock import Clock, nanoseconds, seconds
from locum.errors import ConfigurationError, SchemaError, StoreError
from locum.identity import MachineKey, ProcessId, host_name, process_state, sees_own_processes, start_time
from locum.keeper import kernel
from locum.keeper.budget import Budget
from locum.keeper.cell import Cell
from locum.keeper.control import WORKER_VARIABLE, Control, Hello, WorkerEnd
from locum.keeper.neighbours import Neighbours
from locum.keeper.owner import Ending, Owner
from locum.keeper.processes import kill_children, reap
from locum.keeper.session import Loss, Session
from locum.keeper.timer import Alarm, KillTimer
from locum.registry import make_store
from locum.scopes import Backoff, Scope, cancel_and_wait, happens
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locum.store import Store

__all__ = ["Keeper"]

_log = logger("keeper")
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_DUMP_SIGNAL: Final = signal.SIGUSR1
_RESTART_FIRST, _RESTART_LAST = 0.1, 5.0
_HEALTHY_AFTER: Final = 10.0
_STOP_GRACE: Final = 5.0
_NEVER_AGAIN: Final = (exit_codes.CLEAN, exit_codes.USAGE, exit_codes.BAD_CONFIGURATION, exit_codes.WOULD_NOT_STOP)


@dataclass(frozen=True, slots=True)
class _End:
    """How one life of the worker ended.

    Attributes:
        code: Its exit code, or minus the signal that killed it.
        why: In words that follow the instance's name.
        started: Whether its services had all been started.
    """

    code: int
    why: str
    started: bool


class Keeper:
    """Keeps one instance running until it is told to stop.

    Args:
        command: The worker's command line.
        clock: Counts leases.
    """

    def __init__(self, command: Sequence[str], *, clock: Clock | None = None) -> None:
        self._command = list(command)
        self._clock = clock or Clock()
        self._life: _Life | None = None
        self._stores: dict[tuple[str, str], Store] = {}
        self._signals: list[int] = []
        self._told_to_stop = asyncio.Event()

    async def run(self) -> int:
        """Run until the worker leaves for good or a signal asks for it.

        Returns:
            The exit code.
        """
        if not sees_own_processes():
            # without it neither a stopped worker nor what it leaves behind could be told from strangers
            _log.error(
                "/proc shows another pid namespace than this one: mount it (unshare --mount-proc), then start again"
            )
            return exit_codes.BAD_CONFIGURATION
        kernel.become_subreaper()
        self.timer = KillTimer()
        loop = asyncio.get_running_loop()
        for number in (*_STOP_SIGNALS, _DUMP_SIGNAL):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                loop.add_signal_handler(number, self._on_signal, number)
        try:
            return await self._lives()
        finally:
            for store in self._stores.values():
                await store.close()

    async def _lives(self) -> int:
        backoff = Backoff(_RESTART_FIRST, _RESTART_LAST)
        ever_started = False
        while True:
            begun = self._clock.now()
            self._life = _Life(self)
            end = await self._life.run()
            name, self._life = self._life.name, None
            if self._told_to_stop.is_set():
                return self._code_of_a_stop(end)
            ever_started = ever_started or end.started
            if end.code in _NEVER_AGAIN or (end.code > 0 and not ever_started):
                return end.code
            if seconds(self._clock.now() - begun) > _HEALTHY_AFTER:
                backoff.reset()
            delay = backoff.delay()
            _log.warning("%s %s; its worker is started again in %.1f s.", name, end.why, delay)
            if await happens(self._told_to_stop.wait(), within=delay):
                return exit_codes.CLEAN

    def _code_of_a_stop(self, end: _End) -> int:
        if len(self._signals) > 1:
            return exit_codes.forced_by(self._signals[-1])
        if -end.code in _STOP_SIGNALS:
            return exit_codes.CLEAN  # it had not yet taken the signals over
        if end.code < 0:
            return exit_codes.forced_by(-end.code)
        return exit_codes.CLEAN if end.code == exit_codes.FENCED else end.code

    def _on_signal(self, number: int) -> None:
        if number in _STOP_SIGNALS:
            self._signals.append(number)
            self._told_to_stop.set()
        if self._life is not None:
            self._life.pass_on(number, force=number in _STOP_SIGNALS and len(self._signals) > 1)

    async def store(self, hello: Hello) -> Store:
        """The store that a worker named, opened as soon as it can be.

        Raises:
            ConfigurationError: It never can.
            SchemaError: It was written by a newer release.
        """
        found = self._stores.get((hello.store, hello.namespace))
        if found is not None:
            return found
        store = make_store(hello.store, namespace=hello.namespace, clock=self._clock)
        store.call_timeout = seconds(hello.ttl) / 6
        backoff = Backoff(0.1, 2.0)
        complaint = _Complaint(hello.instance, self._clock)
        while True:
            try:
                await store.open()
            except SchemaError:
                raise
            except StoreError as error:
                complaint.tell(str(error))
                await self._clock.sleep(backoff.delay())
            else:
                self._stores[hello.store, hello.namespace] = store
                return store


class _Life:
    """One life of one worker."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper, self._clock = keeper, keeper._clock
        self.name = host_name()
        self._key = str(MachineKey.of_this_process())
        self._session: Session | None = None
        self._generation = 0
        self._armed: set[int] = set()
        self._began = self._started = False
        self._why = ""
        self._stop_at: int | None = None
        self._hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self._warned_of_loop = 0

    async def run(self) -> _End:
        self._timer = self._keeper.timer
        self._end_worker = Alarm(self._on_deadline)
        self._give_up = Alarm(self._on_stop_timeout)
        await self._spawn()
        try:
            async with Scope("life of a worker", on_error=self._on_failure) as scope:
                self._scope = scope
                scope.spawn(self._listen(), name="messages of the worker")
                work = scope.spawn(self._work(), name="work")
                await self._ended.wait()
                await cancel_and_wait(work)
        finally:
            code = await self._end()
            self._end_worker.close()
            self._give_up.close()
        self._control.close()
        self._cell.close()
        return _End(code, self._words(code), self._started)

    def pass_on(self, number: int, *, force: bool) -> None:
        """Give a signal to the worker; a forced one ends it."""
        if number in _STOP_SIGNALS and self._stop_at is None and not force:
            limit = self._hello.result().stop_timeout if self._hello.done() else 0.0
            self._stop_at = self._clock.now() + nanoseconds(limit + _STOP_GRACE)
            self._give_up.set(self._stop_at)
        if number == _DUMP_SIGNAL and not self._began:
            return  # it does not know the signal yet, and would die of it
        if not self._ended.is_set():
            os.kill(self._worker.pid, signal.SIGKILL if force else number)

    # -- beginning

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        cell_fd = Cell.make()
        self._cell = Cell(cell_fd)
        end = WorkerEnd(theirs.fileno(), cell_fd, os.getpid())
        # forked here, on the main thread, whose end would otherwise be taken for the parent's (R10)
        process = subprocess.Popen(  # noqa: ASYNC220 - the command line is the user's own; nothing else runs here yet
            self._keeper._command,
            start_new_session=True,
            pass_fds=(theirs.fileno(), cell_fd),
            env={**os.environ, WORKER_VARIABLE: end.to_text()},
        )
        theirs.close()
        os.close(cell_fd)
        self._pidfd = os.pidfd_open(process.pid)  # our own child, not reaped yet: no other process can have this pid
        self._worker = ProcessId(process.pid, start_time(process.pid) or 0)
        process.returncode = 0  # reaped here, by us, and not by Popen
        self._ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended.set)
        self._control = await Control.over(ours)

    async def _work(self) -> None:
        hello = await self._hello
        self.name = hello.instance
        try:
            store = await self._keeper.store(hello)
        except (ConfigurationError, SchemaError) as error:
            _log.error("%s cannot start: %s", self.name, error)
            self._why = "cannot use its store"
            self._kill(exit_codes.BAD_CONFIGURATION)
            return
        owner = Owner(
            self.name,
            host_name(),
            MachineKey.of_this_process(),
            keeper=ProcessId.of_this_process(),
            worker=self._worker,
        )
        complaint = _Complaint(self.name, self._clock)
        while True:
            session = Session(
                store, owner, hello.ttl, clock=self._clock, may_beat=self._may_beat, acknowledged=self._on_beat
            )
            self._session = session
            await session.open(told=complaint.tell)
            complaint.clear()
            self._began = True
            self._generation += 1
            budget = session.budget
            store.call_timeout = budget.call_seconds
            self._cell.begin(self._generation, budget.cancel_at(session.sent), budget.kill_at(session.sent))
            self._control.send(
                "open",
                session=session.id,
                generation=self._generation,
                ttl=budget.ttl,
                beat=budget.beat,
                call=budget.call,
                owner=owner.to_bytes().decode(),
            )
            neighbours = Neighbours(
                store,
                budget=budget,
                clock=self._clock,
                own=self._session_id,
                key=self._key,
                joined=lambda owner: self._control.send("joined", name=owner.name, machine=owner.machine),
                gone=lambda owner, why: self._control.send("gone", name=owner.name, why=why),
            )
            watching = self._scope.spawn(neighbours.watch(), name="neighbours")
            loss = await session.keep()
            await cancel_and_wait(watching)
            await self._lose(session, loss)

    async def _lose(self, session: Session, loss: Loss) -> None:
        """The session is lost: its terms are over at once; whoever still works under it is ended."""
        self._cell.end()
        if self._armed:
            # certain: somebody may be at work elsewhere already (R3, R5). Otherwise 80 % have passed anyway
            self._why = f"was ended, for it lost its session: {loss.why}"
            self._kill(exit_codes.FENCED)
            await self._ended.wait()
        _log.debug("%s has lost its session: %s.", self.name, loss.why)  # its worker tells it
        self._control.send("lost", why=f"lost its session: {loss.why}", generation=self._generation)
        if not loss.certain:
            await session.close(Ending(f"lost its session: {loss.why}", self._clock.now(), self._key))

    # -- between

    async def _listen(self) -> None:
        async for message in self._control.messages():
            self._on_message(message)

    def _on_message(self, message: dict[str, Any]) -> None:
        match message.pop("kind"):
            case "hello":
                self._hello.set_result(Hello(**message))
            case "arm":
                ok = self._arm(message["handle"], message["generation"])
                self._control.send("armed", handle=message["handle"], ok=ok)
            case "disarm":
                self._disarm(message["handle"])
            case "started":
                self._started = True
            case kind:
                _log.warning("the worker says %r, which this release does not know", kind)

    def _arm(self, handle: int, generation: int) -> bool:
        if self._session is None or generation != self._cell.generation:
            return False
        kill_at = self._cell.kill_at
        if self._clock.now() >= kill_at:
            return False
        if not self._armed:
            self._timer.arm(kill_at)
            self._end_worker.set(self._session.budget.end_worker_at(self._session.sent))
        self._armed.add(handle)
        return True

    def _disarm(self, handle: int) -> None:
        self._armed.discard(handle)
        if not self._armed:
            self._end_worker.clear()
            self._timer.disarm()

    def _on_beat(self, budget: Budget, sent: int) -> None:
        cancel_at, kill_at = budget.cancel_at(sent), budget.kill_at(sent)
        if self._armed and self._clock.now() >= self._cell.cancel_at:
            cancel_at = 0  # its terms met their deadline: only the kill moves, so that they can drain (R5)
        self._cell.advance(cancel_at, kill_at)
        if self._armed:
            self._timer.arm(self._cell.kill_at)
            self._end_worker.set(budget.end_worker_at(sent))
        self._look_after_loop(budget.ttl)
        reap(keep=self._worker.pid)  # orphans that we adopted

    def _may_beat(self) -> bool:
        return not self._ended.is_set() and process_state(self._worker.pid) not in ("T", "t", "Z", "X", None)

    def _on_deadline(self) -> None:
        if self._armed:
            self._why = "was ended at its deadline: a body still ran at 80 % of the TTL"
            self._kill(exit_codes.FENCED)

    def _on_stop_timeout(self) -> None:
        self._why = "did not stop in time"
        self._kill(exit_codes.WOULD_NOT_STOP)

    def _look_after_loop(self, ttl: int) -> None:
        """Warn once, with all stacks, of an event loop that has not turned for a whole TTL."""
        turned = self._cell.turned_at
        if not turned or turned == self._warned_of_loop or self._clock.now() - turned < ttl:
            return
        self._warned_of_loop = turned
        _log.warning(
            "%s: its event loop has not turned for %.1f s: something in it blocks. Where it stands:",
            self.name,
            seconds(self._clock.now() - turned),
        )
        os.kill(self._worker.pid, signal.SIGUSR1)

    def _on_failure(self, task: str, error: BaseException) -> None:
        _log.error("%s: %s failed", self.name, task, exc_info=error)
        self._why = f"failed in its keeper: {error!r}"
        self._kill(exit_codes.SERVICE_FAILED)

    # -- end

    def _kill(self, code: int) -> None:
        self._code = code
        if not self._ended.is_set():
            os.kill(self._worker.pid, signal.SIGKILL)

    async def _end(self) -> int:
        """Kill and reap everything, then close the session; the exit code."""
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self._cell.end()
        seen = self._clock.now()
        code = await self._reap_all()
        os.close(self._pidfd)
        self._armed.clear()
        self._timer.disarm()
        if self._session is not None and self._began:
            patience = self._session.budget.call_seconds if self._keeper._told_to_stop.is_set() else None
            await self._session.close(Ending(self._words(code), seen, self._key), patience=patience)
        return getattr(self, "_code", code)

    async def _reap_all(self) -> int:
        status: int | None = None
        delay = Backoff(0.0005, 0.05)
        while True:
            kill_children(group=self._worker.pid if status is None else None)
            ended = reap()
            if ended is None:
                break
            status = ended.get(self._worker.pid, status)
            if not _has_children():
                break
            await self._clock.sleep(delay.delay())  # what is being ended takes its time, and what it leaves comes to us
        return os.waitstatus_to_exitcode(status) if status is not None else exit_codes.SERVICE_FAILED

    def _words(self, code: int) -> str:
        if self._why:
            return self._why
        if code < 0:
            return f"was killed ({signal.Signals(-code).name})"
        if code == exit_codes.CLEAN:
            return "stopped"
        if code == exit_codes.FENCED:
            return "lost its lease and ended in time"
        return f"ended with exit code {code}"

    def _session_id(self) -> str | None:
        return self._session.id if self._session else None


class _Complaint:
    """Tells of a store that is not there: at once, and then every 15 s."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name, self._clock, self._last = name, clock, 0

    def tell(self, why: str) -> None:
        now = self._clock.now()
        if not self._last or now - self._last > nanoseconds(15):
            self._last = now
            _log.warning("%s waits for its store: %s", self._name, why)

    def clear(self) -> None:
        if self._last:
            _log.warning("%s has its store.", self._name)
        self._last = 0


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
