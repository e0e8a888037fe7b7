"""One instance of a test's cluster: what was started, its processes, and what it has said."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from locum.identity import process_state
from locum.testing.processes import children, has_ended, open_child

if TYPE_CHECKING:
    from pathlib import Path

    from locum.testing.gate import Gate

__all__ = ["Instance", "Victim"]


@dataclass(slots=True)
class Victim:
    """The processes of an instance, held by descriptors, so that no later process of the same pid is hurt.

    The one above its keeper has none: it is the test's own child, whose pid nobody else gets before it is reaped.

    Attributes:
        keeper_fd: A pidfd of its keeper.
        worker_fd: A pidfd of its worker.
    """

    keeper_fd: int
    worker_fd: int

    @property
    def has_worker_ended(self) -> bool:
        """Whether the worker has ended; it need not be reaped."""
        poll = select.poll()
        poll.register(self.worker_fd, select.POLLIN)
        return bool(poll.poll(0))

    def kill_keeper(self) -> None:
        """Kill the keeper."""
        _send(self.keeper_fd, signal.SIGKILL)

    def kill_worker(self) -> None:
        """Kill the worker."""
        _send(self.worker_fd, signal.SIGKILL)

    def let_go(self) -> None:
        """Close the descriptors."""
        os.close(self.keeper_fd)
        os.close(self.worker_fd)


@dataclass(slots=True)
class Instance:
    """One instance.

    Attributes:
        name: Its name.
        process: What was started: the guardian, with the keeper below it and the worker below that.
        log: Where its output goes.
        gate: What stands between it and the store.
        frozen: The processes that were stopped, from above; empty if it is not frozen.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    gate: Gate
    frozen: list[int] = field(default_factory=list)

    @property
    def output(self) -> str:
        """What it has said so far."""
        return self.log.read_text(errors="replace")

    @property
    def has_left(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    @property
    def code(self) -> int | None:
        """Its exit code, minus the signal that ended it; `None` while it runs."""
        return self.process.poll()

    @property
    def is_whole(self) -> bool:
        """Whether it runs, is not frozen, and is not cut off."""
        return not (self.has_left or self.frozen or self.gate.is_shut)

    @property
    def state(self) -> str:
        """What there is to say of it, for people."""
        if self.has_left:
            return f"has left ({self.process.returncode})"
        states = [*(["frozen"] if self.frozen else []), *(["cut off"] if self.gate.is_shut else [])]
        return ", ".join(states) or "runs"

    def hold(self) -> Victim | None:
        """Its processes at this moment; `None` while it starts or ends, or its worker is being started again."""
        for keeper in children(self.process.pid):
            keeper_fd = open_child(keeper, of=self.process.pid)
            if keeper_fd is None:
                continue
            # the first of its children: what a worker leaves to its keeper is younger
            for worker in children(keeper):
                worker_fd = None if has_ended(worker) else open_child(worker, of=keeper)
                if worker_fd is not None:
                    return Victim(keeper_fd, worker_fd)
            os.close(keeper_fd)
        return None

    def freeze(self) -> bool:
        """Stop all its processes, from above: each would otherwise see what happens to the one below.

        Whoever has stopped reaps nobody, so the pids of those below stay theirs.

        Returns:
            Whether it is frozen; to be repeated until so.
        """
        victim = self.hold()
        if victim is None:
            return False
        victim.let_go()
        below = [self.process.pid]
        while below:
            pid = below.pop(0)
            _send_to(pid, signal.SIGSTOP)
            self.frozen.append(pid)
            below += children(pid)
        return True

    @property
    def stands_still(self) -> bool:
        """Whether every process that was stopped has stopped: a signal takes effect a little later."""
        return all(process_state(pid) in (None, "T", "Z", "X") for pid in self.frozen)

    def resume(self) -> None:
        """Let it go on, from below: whoever works goes on before those above can do anything about it.

        The one on top keeps its pid until we reap it, and so do those below it while it stands still.
        """
        for pid in reversed(self.frozen):
            _send_to(pid, signal.SIGCONT)
        self.frozen = []

    def kill_frozen(self) -> None:
        """Kill what was stopped, from below, while the one on top cannot reap any of it."""
        for pid in reversed(self.frozen):
            _send_to(pid, signal.SIGKILL)
        self.frozen = []


def _send(fd: int, number: int) -> None:
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        pass  # it has ended, and that is what was wanted


def _send_to(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # the same
