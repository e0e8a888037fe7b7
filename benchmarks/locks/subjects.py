"""The contenders as subjects: processes that take turns at one lock or watch who is here, and the numbers of that."""

from __future__ import annotations

import itertools
import json
import os
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from benchmarks.harness import Case, Sample, Unavailable
from benchmarks.locks import ALONE, EIGHT, KINDS, MANY, WATCHED
from benchmarks.locks.turns import GO, HELD, STANDING
from benchmarks.peers.servers import SERVERS as PEER_SERVERS
from benchmarks.takeover.peers import version_of
from tests.faults.kit.counting import watch_writes
from tests.faults.kit.places import SERVERS, STORES, SqliteFile
from tests.faults.kit.waiting import pass_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Self

__all__ = ["CONTENDERS", "WATCHERS", "Contender", "LockSubject", "WatchSubject"]

_ROOT: Final = Path(__file__).parents[2]
_PROCESSES: Final = {ALONE: 1, EIGHT: 8, MANY: 1}
_PATIENCE: Final = 120.0
_CHANGES: Final = 100
_SENT: Final = re.compile(r"cmdstat_(?:evalsha|eval|set|setex|psetex|ping):calls=(\d+)")
"""What the peers on Redis send while they hold; what their scripts do in turn is not counted."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Whose lock.

    Attributes:
        label: In the report.
        module: Of `benchmarks.locks`.
        server: Of the peers' servers, or a kind of store for ours.
        library: The distribution that it needs; `None` for ours.
        renews: Whether it renews by itself what it holds; of who does not nothing can be told while it holds.
    """

    label: str
    module: str
    server: str
    library: str | None = None
    renews: bool = True


CONTENDERS: Final = (
    *(Contender(f"Locum on {kind}", "contenders.locum_lock", kind) for kind in STORES),
    Contender("redis-py Lock", "contenders.redis_py", "redis", "redis", renews=False),
    Contender("python-redis-lock", "contenders.python_redis_lock", "redis", "python-redis-lock"),
    Contender("tooz lock (Redis)", "contenders.tooz_lock", "redis", "tooz"),
    Contender("aetcd Lock", "contenders.aetcd_lock", "etcd", "aetcd", renews=False),
    Contender("kazoo Lock", "contenders.kazoo_lock", "zookeeper", "kazoo"),
)
WATCHERS: Final = (
    *(Contender(f"Locum members on {kind}", "watchers.locum_members", kind) for kind in STORES),
    Contender("aetcd watch of a prefix", "watchers.aetcd_prefix", "etcd", "aetcd"),
    Contender("kazoo Party + ChildrenWatch", "watchers.kazoo_party", "zookeeper", "kazoo"),
)
"""tooz has no place here: each of its members is a coordinator with connections, and a watcher asks again and again."""


class _Subject:
    """One contender, with a server of its own.

    Args:
        contender: Which.
        python: The interpreter that has the peers' libraries.
        ttl: Seconds.
        seconds: For which turns are taken.
        folder: Where the folder of the server is made.
        many: How many locks are held at once, or how many members there are.
    """

    kinds: ClassVar[Sequence[str]]

    def __init__(
        self, contender: Contender, *, python: Path, ttl: float, seconds: float, folder: Path, many: int = 1000
    ) -> None:
        self.name = contender.label
        self.cases = tuple(Case(contender.label, kind) for kind in self.kinds)
        self._contender, self._ttl, self._seconds, self._folder = contender, ttl, seconds, folder
        self._many = many
        self._python = Path(sys.executable) if contender.library is None else python
        self.version: str | None = None
        self._calls: Callable[[], int] | None = None
        self._file: Path | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder)))
            kind = self._contender.server
            if self._contender.library is not None:
                self.version = version_of(self._python, self._contender.library)
                self._server = stack.enter_context(PEER_SERVERS[kind](folder))
                self._calls = self._sent if kind == "redis" and self._contender.renews else None
            elif kind in SERVERS:
                if not SERVERS[kind].is_installed():
                    raise Unavailable("its server is not installed; `make servers` does that, as root")
                place = SERVERS[kind](stack.enter_context(SERVERS[kind].make(folder)))
                self._server, self._calls = place.url, place.calls
            else:
                self._file = folder / "store.db"
                self._server = SqliteFile(self._file).url
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _sent(self) -> int:
        command = ["redis-cli", "-p", self._server, "INFO", "commandstats"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return sum(map(int, _SENT.findall(said)))

    @contextmanager
    def _processes(self, *settings: Mapping[str, str]) -> Iterator[list[subprocess.Popen[str]]]:
        """A process for each of the settings, once all stand, one after the other."""
        environment = {
            **os.environ,
            "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'src'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "BENCH_SERVER": self._server,
            "BENCH_SCOPE": f"bench-{uuid.uuid4().hex}",
            "BENCH_TTL": str(self._ttl),
            "BENCH_SECONDS": str(self._seconds),
        }
        command = [str(self._python), "-P", "-m", f"benchmarks.locks.{self._contender.module}"]
        with ExitStack() as stack:
            processes = []
            for own in settings:
                process = subprocess.Popen(
                    command,
                    env={**environment, **own},
                    cwd=self._folder,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                stack.callback(_end, process)
                processes.append(process)
                if own.get("BENCH_CROWD"):
                    self._hear(process, STANDING)  # who watches is to find them there
            for process, own in zip(processes, settings, strict=True):
                if not own.get("BENCH_CROWD"):
                    self._hear(process, STANDING)
            yield processes

    def _hear(self, process: subprocess.Popen[str], word: str) -> None:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], _PATIENCE)[0], f"{self.name}: a process is not {word} in time"
        heard = process.stdout.readline().strip()
        assert heard == word, f"{self.name}: a process has ended before it was {word}"

    def _told(self, process: subprocess.Popen[str]) -> Any:
        """What it tells in the end."""
        try:
            return json.loads(process.communicate(timeout=self._seconds + _PATIENCE)[0].splitlines()[0])
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name}: a process did not end") from None
        except IndexError:
            raise AssertionError(f"{self.name}: a process has ended without a word") from None


class LockSubject(_Subject):
    """Turns at one lock, and many locks at once."""

    kinds = tuple(KINDS)

    def __enter__(self) -> Self:
        self._has_held = False
        return super().__enter__()

    def visit(self, cases: Sequence[Case], seed: int) -> Iterator[Sample]:
        """Each kind once."""
        del seed  # nothing here is random
        for case in cases:
            yield Sample(case, self._all_at_once() if case.kind == MANY else self._turns(_PROCESSES[case.kind]))

    def _turns(self, count: int) -> dict[str, float]:
        with self._processes(*[{"BENCH_MANY": "0"}] * count) as processes:
            for process in processes:
                _send(process)
            return _of_turns([self._told(process) for process in processes])

    def _all_at_once(self) -> dict[str, float]:
        """The first time they are held for a TTL, and what that asks of the server is counted."""
        with self._processes({"BENCH_MANY": str(self._many)}) as (process,):
            _send(process)
            self._hear(process, HELD)
            calls = None if self._has_held else self._calls_a_second()
            self._has_held = True
            _send(process)
            found = _of_many(self._told(process), self._many)
        return found if calls is None else {**found, "calls a second, holding": calls}

    def _calls_a_second(self) -> float | None:
        """Of a file its transactions that write."""
        if self._file is not None:
            traffic = watch_writes(self._file, self._ttl)
            return traffic.commits / traffic.duration
        if self._calls is None:
            return None
        before, begun = self._calls(), time.monotonic()
        pass_by(self._ttl)
        return (self._calls() - before) / (time.monotonic() - begun)


class WatchSubject(_Subject):
    """A thousand members, and how soon a watcher is told of one more and of its leaving."""

    kinds = (WATCHED,)

    def visit(self, cases: Sequence[Case], seed: int) -> Iterator[Sample]:
        """All the joins and leaves."""
        del seed  # nothing here is random
        own = {"BENCH_MANY": str(self._many), "BENCH_CHANGES": str(_CHANGES)}
        for case in cases:
            with self._processes({**own, "BENCH_CROWD": "1"}, {**own, "BENCH_CROWD": ""}) as (_, watcher):
                _send(watcher)
                told = self._told(watcher)
            assert len(told["joins"]) == len(told["leaves"]) == _CHANGES, f"{self.name}: not every change was told"
            for join, leave in zip(told["joins"], told["leaves"], strict=True):
                yield Sample(case, {"join ms": join, "leave ms": leave})
            if told["calls"]:
                yield Sample(case, told["calls"])


def _send(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{GO}\n")
    process.stdin.flush()


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        pipe.close()


def _of_many(spans: list[list[int]], many: int) -> dict[str, float]:
    """How fast all were taken, and given back."""
    (begun, had), (asked, gone) = spans
    assert begun < had <= asked < gone, f"{spans} is no order in which locks are taken and given back"
    return {
        "taken a second": many / ((had - begun) / 1e9),
        "given back a second": many / ((gone - asked) / 1e9),
    }


def _of_turns(turns: list[list[list[int]]]) -> dict[str, float]:
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
