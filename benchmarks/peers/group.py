"""Three processes of one peer's service that compete: started, watched by their rows, hurt, and ended."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.peers.work import STANDING
from tests.faults.kit import processes
from tests.faults.kit.rows import RowFile, now
from tests.faults.kit.waiting import LONG, pass_by, until

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Group", "Member"]

_ROOT: Final = Path(__file__).parents[2]
_SIZE: Final = 3
_SHORT: Final = 0.3  # seconds without a row after which a process is not active


@dataclass(frozen=True, slots=True)
class Member:
    """One process of a group."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    @property
    def stands(self) -> bool:
        """Whether it competes, and lives."""
        return self.is_alive and STANDING in self.output.read_text(errors="replace").splitlines()

    @property
    def last_words(self) -> str:
        """The last line that it has said."""
        return (self.output.read_text(errors="replace").splitlines() or ["nothing"])[-1]


class Group:
    """Processes of one module of `benchmarks.peers`.

    Args:
        module: Its name.
        python: The interpreter, which has the peer's library.
        server: What the processes are told of their server.
        ttl: Seconds.
        folder: An empty one, for the rows and what the processes say.
    """

    def __init__(self, module: str, *, python: Path, server: str, ttl: float, folder: Path) -> None:
        self.rows = RowFile(folder / "rows")
        self._command = [str(python), "-P", "-m", f"benchmarks.peers.{module}"]
        self._server, self._ttl, self._folder = server, ttl, folder
        self._scope = f"bench-{uuid.uuid4().hex}"  # nothing of an earlier group is in the way
        self._numbers = itertools.count(1)
        self._members: list[Member] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            member.process.kill()
            member.process.wait()

    def stand(self) -> Member:
        """Three processes that compete, of which one is active, has been for a moment, and is alone.

        Returns:
            The active one.
        """
        self._members = [member for member in self._members if member.is_alive]
        while len(self._members) < _SIZE:
            member = self._start()
            until(lambda: member.stands or not member.is_alive, "a peer's process to compete")  # noqa: B023 - at once
            assert member.is_alive, f"a process has ended at its start; it said: {member.last_words}"
            if len(self._members) == 1:
                until(self.active, "the first process to become active")
        self.rows.read()
        return until(self.active, "one active process", within=LONG + 3 * self._ttl)

    def active(self) -> Member | None:
        """The process that alone has written the latest rows."""
        pass_by(_SHORT)
        new = self.rows.read()
        pids = {row.pid for row in new if row.at > now() - _SHORT * 1e9}
        return next((member for member in self._members if pids == {member.pid} and member.is_alive), None)

    def remove(self, member: Member) -> None:
        """End a process for good."""
        processes.send(member.pid, signal.SIGKILL)
        member.process.wait(LONG)

    def _start(self) -> Member:
        name = f"p{next(self._numbers)}"
        output = self._folder / f"{name}.out"
        environment = {
            **os.environ,
            "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'src'}",  # the rows are written as Locum's own are
            "PYTHONDONTWRITEBYTECODE": "1",
            "BENCH_NAME": name,
            "BENCH_SCOPE": self._scope,
            "BENCH_SERVER": self._server,
            "BENCH_TTL": str(self._ttl),
            "BENCH_ROWS": str(self.rows.path),
        }
        with output.open("wb") as file:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self._folder,
                start_new_session=True,
            )
        member = Member(process, output)
        self._members.append(member)
        return member
