"""Real processes for tests: they say when they are ready, and none outlives its test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from locum.identity import ProcessId, start_time

if TYPE_CHECKING:
    from collections.abc import Iterator

SLEEPER = "import signal; print('ready', flush=True); signal.pause()"


class Child:
    """One child process, by default the leader of a session of its own, as a worker is."""

    def __init__(self, program: str, *arguments: str, leads: bool = True) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, start_new_session=leads, text=True
        )
        self.pid = self._process.pid

    def line(self) -> str:
        """The next line that it says."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    @property
    def identity(self) -> ProcessId:
        start = start_time(self.pid)
        assert start is not None
        return ProcessId(self.pid, start)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)

    def wait(self) -> int:
        """Reap it; its exit code, or minus the signal."""
        return self._process.wait(timeout=20)

    def die(self) -> None:
        self.kill()
        self.wait()

    def clean(self) -> None:
        if self._process.returncode is None:
            self.die()
        if self._process.stdout is not None:
            self._process.stdout.close()


class Children:
    """Makes children."""

    def __init__(self) -> None:
        self._made: list[Child] = []
        self._strays: list[ProcessId] = []

    def sleeper(self) -> Child:
        """One that is ready and waits for a signal."""
        child = self.running(SLEEPER)
        assert child.line() == "ready"
        return child

    def running(self, program: str, *arguments: str, leads: bool = True) -> Child:
        child = Child(program, *arguments, leads=leads)
        self._made.append(child)
        return child

    def stray(self, pid: int) -> ProcessId:
        """A grandchild, to be ended with the test."""
        start = start_time(pid)
        assert start is not None
        self._strays.append(ProcessId(pid, start))
        return self._strays[-1]

    def clean(self) -> None:
        for child in self._made:
            child.clean()
        for stray in self._strays:
            if start_time(stray.pid) == stray.start:
                os.kill(stray.pid, signal.SIGKILL)


def children_of_a_test() -> Iterator[Children]:
    made = Children()
    try:
        yield made
    finally:
        made.clean()
