"""The contenders as subjects: processes that take turns at one lock, and the numbers of their turns."""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.harness import Case, Sample, Unavailable
from benchmarks.locks import ALONE, EIGHT, KINDS, MANY
from benchmarks.locks.turns import GO, STANDING
from benchmarks.peers.servers import SERVERS as PEER_SERVERS
from benchmarks.takeover.peers import version_of
from tests.faults.kit.places import SERVERS, STORES, SqliteFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

__all__ = ["CONTENDERS", "Contender", "LockSubject"]

_ROOT: Final = Path(__file__).parents[2]
_PROCESSES: Final = {ALONE: 1, EIGHT: 8, MANY: 1}
_PATIENCE: Final = 120.0


@dataclass(frozen=True, slots=True)
class Contender:
    """Whose lock.

    Attributes:
        label: In the report.
        module: Of `benchmarks.locks.contenders`.
        server: Of the peers' servers, or a kind of store for ours.
        library: The distribution that it needs; `None` for ours.
    """

    label: str
    module: str
    server: str
    library: str | None = None


CONTENDERS: Final = (
    *(Contender(f"Locum on {kind}", "locum_lock", kind) for kind in STORES),
    Contender("redis-py Lock", "redis_py", "redis", "redis"),
    Contender("tooz lock (Redis)", "tooz_lock", "redis", "tooz"),
    Contender("aetcd Lock", "aetcd_lock", "etcd", "aetcd"),
    Contender("kazoo Lock", "kazoo_lock", "zookeeper", "kazoo"),
)


class LockSubject:
    """One contender, with a server of its own.

    Args:
        contender: Which.
        python: The interpreter that has the peers' libraries.
        ttl: Seconds.
        seconds: For which turns are taken.
        folder: Where the folder of the server is made.
    """

    def __init__(self, contender: Contender, *, python: Path, ttl: float, seconds: float, folder: Path) -> None:
        self.name = contender.label
        self.cases = tuple(Case(contender.label, kind) for kind in KINDS)
        self._contender, self._ttl, self._seconds, self._folder = contender, ttl, seconds, folder
        self._python = Path(sys.executable) if contender.library is None else python
        self.version: str | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder)))
            kind = self._contender.server
            if self._contender.library is not None:
                self.version = version_of(self._python, self._contender.library)
                self._server = stack.enter_context(PEER_SERVERS[kind](folder))
            elif kind in SERVERS:
                if not SERVERS[kind].is_installed():
                    raise Unavailable("its server is not installed; `make servers` does that, as root")
                self._server = SERVERS[kind](stack.enter_context(SERVERS[kind].make(folder))).url
            else:
                self._server = SqliteFile(folder / "store.db").url
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def visit(self, cases: Sequence[Case], seed: int) -> Iterator[Sample]:
        """Each kind once."""
        del seed  # nothing here is random
        for case in cases:
            turns = self._run(_PROCESSES[case.kind], many=1000 if case.kind == MANY else 0)
            yield Sample(case, _of_many(turns[0]) if case.kind == MANY else _of_turns(turns))

    def _run(self, count: int, *, many: int) -> list[list[tuple[int, int]]]:
        environment = {
            **os.environ,
            "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'src'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "BENCH_SERVER": self._server,
            "BENCH_SCOPE": f"bench-{uuid.uuid4().hex}",
            "BENCH_TTL": str(self._ttl),
            "BENCH_MANY": str(many),
            "BENCH_SECONDS": str(self._seconds),
        }
        command = [str(self._python), "-P", "-m", f"benchmarks.locks.contenders.{self._contender.module}"]
        processes = [
            subprocess.Popen(
                command, env=environment, cwd=self._folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(count)
        ]
        try:
            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline().strip() == STANDING, f"{self.name}: a process has ended at its start"
            for process in processes:
                assert process.stdin is not None
                process.stdin.write(f"{GO}\n")
                process.stdin.flush()
            told = [process.communicate(timeout=self._seconds + _PATIENCE)[0] for process in processes]
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name}: {count} processes did not end") from None
        finally:
            for process in processes:
                process.kill()
                process.wait()
        return [[(taken, given) for taken, given in json.loads(lines.splitlines()[0])] for lines in told]


def _of_many(turns: list[tuple[int, int]]) -> dict[str, float]:
    ((begun, had),) = turns
    return {"us a lock": (had - begun) / 1e6}  # of a thousand: ms of all are µs of each


def _of_turns(turns: list[list[tuple[int, int]]]) -> dict[str, float]:
    """Turns a second of all together, how unevenly they were shared out, and how soon another process held it."""
    counts = [len(own) for own in turns]
    every = sorted((taken, given, number) for number, own in enumerate(turns) for taken, given in own)
    assert len(every) > 1, "nobody had a second turn"
    pairs = list(itertools.pairwise(every))
    overlaps = sum(after[0] < before[1] for before, after in pairs)
    changes = [(after[0] - before[1]) / 1e6 for before, after in pairs if after[2] != before[2]]
    found = {
        "turns a second": (len(every) - 1) / ((every[-1][0] - every[0][0]) / 1e9),
        "overlaps": float(overlaps),
    }
    if len(turns) > 1:
        found["most / least turns"] = max(counts) / max(min(counts), 1)
        if changes:
            found["hand-over ms"] = statistics.median(changes)
    return found
