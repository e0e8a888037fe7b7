"""Starting what belongs to one cluster, and ending all of it, whatever happened."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

from locum.clock import nanoseconds
from locum.testing.processes import kill_marked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from locum.clock import Clock

__all__ = ["Launcher"]

_LONG: Final = 30.0  # s, for what should take milliseconds
_PAUSE: Final = 0.01  # s
_OURS: Final = "LOCUM_"  # what the variables begin with that would speak to an instance


class Launcher:
    """Starts processes that all end together.

    Args:
        folder: Their current folder; it stands first among the places from which they import.
        environment: Theirs, beside what they inherit from this process.
        clock: Bounds the end.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], clock: Clock) -> None:
        self._folder, self._environment, self._clock = folder, dict(environment), clock
        self._mark = f"LOCUM_TESTING_MARK={uuid.uuid4().hex}"
        self._started: list[subprocess.Popen[bytes]] = []
        command = [sys.executable, "-P", "-m", "locum.testing.undertaker", self._mark]
        self._undertaker = subprocess.Popen(
            command, stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": self._path()}, start_new_session=True
        )

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, *, stdout: int | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a process, whose output is added to a file."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(_OURS)}
        mark, _, value = self._mark.partition("=")
        ours = {"PYTHONPATH": self._path(), "PYTHONUNBUFFERED": "1", mark: value}
        with log.open("ab") as file:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file if stdout is None else stdout,
                stderr=file,
                env={**inherited, **self._environment, **ours, **environment},
                cwd=self._folder,
                start_new_session=True,  # what a terminal tells the tests is not meant for the instances
            )
        self._started.append(process)
        return process

    async def end(self) -> None:
        """End everything, and what it has started itself.

        Raises:
            TimeoutError: Something cannot be ended.
        """
        deadline = self._clock.now() + nanoseconds(_LONG)
        try:
            # who is dying has lost its mark before it can be reaped
            while left := [*kill_marked(self._mark), *self._unreaped()]:
                if self._clock.now() > deadline:
                    raise TimeoutError(f"waited {_LONG:g} s in vain for the end of the processes {left}")
                await self._clock.sleep(_PAUSE)
        finally:
            self._undertaker.communicate()  # its stdin is closed: it has a last look, and leaves

    def _unreaped(self) -> list[int]:
        return [process.pid for process in self._started if process.poll() is None]

    def _path(self) -> str:
        """What this process can import, and then the folder from which it was started."""
        places = [str(self._folder), *(str(Path(place).absolute()) for place in sys.path), str(Path.cwd())]
        return os.pathsep.join(dict.fromkeys(places))
