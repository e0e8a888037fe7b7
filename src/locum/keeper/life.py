"""One life of one worker: spawn, hello, session, start gate, beat; and then the end (R6, R10).

At the end the tree is killed and reaped, and only then the session closed.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from locum import exit_codes
from locum.clock import nanoseconds, seconds
from locum.errors import ConfigurationError, SchemaError
from locum.identity import MachineKey, ProcessId, host_name, process_state, start_time
from locum.keeper.cell import Cell
from locum.keeper.control import DUMP_SIGNAL, STOP_SIGNALS, WORKER_VARIABLE, Control, Hello, WorkerEnd
from locum.keeper.hang import HangWatch, look_after_loop
from locum.keeper.keeping import Keeping
from locum.keeper.owner import Ending, Owner
from locum.keeper.processes import kill_children, kill_group, reap
from locum.keeper.timer import Alarm
from locum.scopes import Backoff, Scope
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from locum.clock import Clock
    from locum.keeper.memory import Memory
    from locum.keeper.session import Loss, Session
    from locum.keeper.timer import KillTimer
    from locum.store import Seen, Store

__all__ = ["End", "Life"]

_log = logger("keeper")
_STOP_GRACE: Final = 5.0
_STOPPED: Final = ("T", "t")


@dataclass(frozen=True, slots=True)
class End:
    """How one life of the worker ended.

    Attributes:
        code: Its exit code, or minus the signal that killed it.
        why: In words that follow the instance's name.
        started: Whether its services had all been started.
        completed: Whether it has ended as was declared, so that nothing is to begin anew.
    """

    code: int
    why: str
    started: bool
    completed: bool


class Life:
    """One life of one worker.

    Args:
        command: The worker's command line.
        clock: Counts the lease.
        timer: The kernel's kill of this keeper.
        find_store: Opens the store that the worker names, as soon as it can be.
        told_to_stop: Whether the instance is being stopped.
        memory: What was seen of the store in earlier lives, and is added to.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        clock: Clock,
        timer: KillTimer,
        find_store: Callable[[Hello], Awaitable[Store]],
        told_to_stop: Callable[[], bool],
        memory: Memory,
    ) -> None:
        self._command, self._clock, self._timer = command, clock, timer
        self._find_store, self._told_to_stop = find_store, told_to_stop
        self.name = host_name()
        self._key = str(MachineKey.of_this_process())
        self._memory = memory
        self._keeping: Keeping | None = None
        self._watch: HangWatch | None = None
        self._stop_timeout, self._hang_timeout = 0.0, math.inf
        self._started = self._completed = self._killed = False
        self._why = ""
        self._exit_code: int | None = None
        self._stop_at: int | None = None
        self._hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()

    async def run(self) -> End:
        """From the start of the worker to the close of its session."""
        self._give_up = Alarm(self._on_stop_timeout)
        await self._spawn()
        try:
            async with Scope("life of a worker", on_error=self._on_failure) as scope:
                self._scope = scope
                scope.spawn(self._listen(), name="messages of the worker")
                work = scope.spawn(self._work(), name="work")
                await self._ended.wait()
                work.cancel()
                await self._end()  # somebody waits for it, and nobody for the tasks here
        finally:
            code = await self._end()
            self._give_up.close()
        self._control.close()
        self._cell.close()
        return End(code, self._words(code), self._started, self._completed)

    def pass_on(self, number: int, *, force: bool) -> None:
        """Give a signal to the worker; a forced one ends it."""
        if number in STOP_SIGNALS and self._stop_at is None and not force:
            self._stop_at = self._clock.now() + nanoseconds(self._stop_timeout + _STOP_GRACE)
            self._give_up.set(self._stop_at)
        if number not in STOP_SIGNALS and not self._hello.done():
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
            self._command,
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
        asyncio.get_running_loop().add_reader(self._pidfd, self._on_end)
        self._control = await Control.over(ours)

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)  # it goes on saying so, at each turn of the loop
        self._ended.set()

    async def _work(self) -> None:
        hello = await self._hello
        self.name = hello.instance
        try:
            store = await self._find_store(hello)
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
        self._watch = HangWatch(seconds(hello.ttl), self._hang_timeout)
        self._scope.spawn(look_after_loop(self._watch, self, clock=self._clock), name="turns of the worker")
        self._keeping = Keeping(
            self, self.name, cell=self._cell, clock=self._clock, timer=self._timer, memory=self._memory
        )
        await self._keeping.keep(store, owner, hello.ttl)

    # -- what is kept

    def may_beat(self) -> bool:
        """Whether the worker is alive and not stopped (R10)."""
        if self._killed or self._ended.is_set():
            return False  # one that is being killed is not stopped any more, and not yet dead
        return process_state(self._worker.pid) not in (*_STOPPED, "Z", "X", None)

    def opened(self, session: Session, generation: int, seen: Seen) -> None:
        """A session is there: the worker's start gate opens."""
        budget = session.budget
        self._control.send(
            "open",
            session=session.id,
            generation=generation,
            ttl=budget.ttl,
            beat=budget.beat,
            call=budget.call,
            owner=session.owner.to_bytes().decode(),
            seen=[seen.incarnation, seen.revision],
        )

    def beaten(self) -> None:
        """A beat was answered."""
        reap(keep=self._worker.pid)  # orphans that we adopted

    def overdue(self) -> None:
        """A body still runs at 80 % of the TTL: the worker is killed."""
        self._why = "was ended at its deadline: a body still ran at 80 % of the TTL"
        self._kill(exit_codes.FENCED)

    async def end_bodies(self, loss: Loss) -> None:
        """Kill the worker; what follows its end is `run`'s affair."""
        # certain: somebody may be at work elsewhere already (R3, R5). Otherwise 80 % have passed anyway
        self._why = f"was ended, for it lost its session: {loss.why}"
        self._kill(exit_codes.FENCED)
        await self._ended.wait()

    def lost(self, why: str) -> None:
        """The session is lost."""
        self._control.send("lost", why=why)

    def joined(self, owner: Owner) -> None:
        """Another instance is there."""
        self._control.send("joined", name=owner.name, machine=owner.machine)

    def gone(self, owner: Owner, why: str) -> None:
        """Another instance is gone."""
        self._control.send("gone", name=owner.name, why=why)

    # -- between

    async def _listen(self) -> None:
        async for message in self._control.messages():
            self._on_message(message)

    def _on_message(self, message: dict[str, Any]) -> None:
        match message.pop("kind"):
            case "hello":
                hello = Hello(**message)
                self._stop_timeout, self._hang_timeout = hello.stop_timeout, hello.hang_timeout
                self._hello.set_result(hello)
            case "limits":
                self._stop_timeout, self._hang_timeout = message["stop_timeout"], message["hang_timeout"]
                if self._watch is not None:
                    self._watch.limit(self._hang_timeout)
            case "arm":
                keeping, handle = self._keeping, message["handle"]
                ok = keeping is not None and keeping.arm(handle, message["generation"], message["token"])
                self._control.send("armed", handle=handle, ok=ok)
            case "disarm":
                if self._keeping is not None:
                    self._keeping.disarm(message["handle"])
            case "give_up":
                self._why = message["why"]
                self._kill(exit_codes.WOULD_NOT_STOP)
            case "started":
                self._started = True
            case "completed":
                self._completed = True
            case kind:
                _log.warning("the worker says %r, which this release does not know", kind)

    def _on_stop_timeout(self) -> None:
        self._why = "did not stop in time"
        self._kill(exit_codes.WOULD_NOT_STOP)

    # -- whose loop is watched

    @property
    def turned_at(self) -> int:
        """When the worker's loop last turned, as it says itself."""
        return self._cell.turned_at

    @property
    def is_stopped(self) -> bool:
        """Whether the worker is stopped."""
        return process_state(self._worker.pid) in _STOPPED

    def tell_of_hang(self, hung: float) -> None:
        """Have the worker say where it stands."""
        _log.warning(
            "%s: its event loop has not turned for %.1f s: something in it blocks. Where it stands:", self.name, hung
        )
        try:
            os.kill(self._worker.pid, DUMP_SIGNAL)
        except ProcessLookupError:
            pass  # it has ended meanwhile, and was reaped

    def end_hung(self, hung: float) -> None:
        """End the worker; it is started again, unless the instance is being stopped."""
        self._why = f"was ended: its event loop had not turned for {hung:.1f} s"
        _log.error("%s %s.", self.name, self._why)
        self._kill(exit_codes.WOULD_NOT_STOP if self._told_to_stop() else exit_codes.SERVICE_FAILED)

    def _on_failure(self, task: str, error: BaseException) -> None:
        _log.error("%s: %s failed", self.name, task, exc_info=error)
        self._why = f"failed in its keeper: {error!r}"
        self._kill(exit_codes.SERVICE_FAILED)

    # -- end

    def _kill(self, code: int) -> None:
        self._code, self._killed = code, True
        if not self._ended.is_set():
            os.kill(self._worker.pid, signal.SIGKILL)

    async def _end(self) -> int:
        """Kill and reap everything, then close the session; the exit code. What was done is not done again."""
        if self._exit_code is None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            self._cell.end()
            seen = self._clock.now()
            self._exit_code = await self._reap_all()
            os.close(self._pidfd)
            if self._keeping is not None:
                await self._close(self._keeping, Ending(self._words(self._exit_code), seen, self._key))
        return getattr(self, "_code", self._exit_code)

    async def _close(self, keeping: Keeping, ending: Ending) -> None:
        keeping.disarm_all()
        if keeping.session is not None:
            patience = keeping.session.budget.call_seconds
            await keeping.session.close(ending, patience=patience, hurried=self._told_to_stop)
        keeping.close()

    async def _reap_all(self) -> int:
        status: int | None = None
        delay = Backoff(0.0005, 0.05)
        kill_group(self._worker.pid)  # not reaped yet: the number is surely its own
        while True:
            ended = reap()
            if ended is None:
                break
            status = ended.get(self._worker.pid, status)
            if not _has_children():
                break
            kill_children()
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
        if code == exit_codes.WOULD_NOT_STOP:
            return "was ended: a service ignored its end for longer than its stop_timeout"
        return f"ended with exit code {code}"


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True
