"""The contenders as subjects: workers on a database of their own, what their bodies note, and the numbers of that."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psycopg

from benchmarks.figures import spread
from benchmarks.harness import Case, Sample
from benchmarks.jobs import DRAINED, IDLE, KILLED, LATE
from benchmarks.jobs.work import NOTE, STANDING
from benchmarks.takeover.peers import version_of
from locum.jobs.job import Roster
from locum.jobs.jobs import Jobs
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from tests.servers.postgresql import Postgresql

__all__ = ["CONTENDERS", "Contender", "JobSubject"]

_ROOT: Final = Path(__file__).parents[2]
_WORKERS: Final = (1, 2, 4)
_SETTLED: Final = 2.0  # seconds of fires that are not counted
_CATCH_UP: Final = 15.0  # seconds, at most, for what has become due while the workers came
_UP_TO_DATE: Final = 0.2
_PATIENCE: Final = 120.0
_GRACE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Contender:
    """Whose jobs.

    Attributes:
        label: In the report.
        module: Of `benchmarks.jobs.contenders`.
        library: The distribution that it needs; `None` for ours.
        drained: How many runs are drained.
        rates: How many fires a second its lateness is told for.
        variant: What it is told of itself.
        environment: The name of the folder of the interpreter's environment.
        lead: Seconds until all is due, and two more a worker: more than those that it takes to stand.
    """

    label: str
    module: str
    library: str | None = None
    drained: int = 4000
    rates: tuple[int, ...] = ()
    variant: str = ""
    environment: str = ".venv"
    lead: float = 8.0

    @property
    def is_ours(self) -> bool:
        """Whether it is Locum."""
        return self.module == "locum_jobs"


CONTENDERS: Final = (
    Contender("Locum", "locum_jobs", rates=(100, 1000, 2000), lead=12.0),
    Contender("bare SKIP LOCKED loop, each end by itself", "bare_loop", rates=(100, 1000, 2000), variant="each"),
    Contender("bare SKIP LOCKED loop, ends together", "bare_loop", drained=20_000, variant="together"),
    Contender("APScheduler 3", "apscheduler3", "apscheduler", drained=500, rates=(100,)),
    Contender("APScheduler 4", "apscheduler4", "apscheduler", 500, (100,), environment=".venv-apscheduler4", lead=14.0),
    Contender("procrastinate", "procrastinate_jobs", "procrastinate", drained=2000),
)


class JobSubject:
    """One contender.

    Args:
        contender: Which.
        python: The interpreter that has the peers' libraries.
        server: Where all have a database of their own.
        seconds: For how long lateness is told, and an idle instance watched.
        schedules: How many the idle instance has.
        folder: Where it writes.
    """

    def __init__(
        self,
        contender: Contender,
        *,
        python: Path,
        server: Postgresql,
        seconds: float,
        schedules: int,
        folder: Path,
    ) -> None:
        self.name = contender.label
        self._contender, self._server, self._seconds, self._folder = contender, server, seconds, folder
        own = python.parents[2] / contender.environment / "bin" / "python"
        self._python = Path(sys.executable) if contender.library is None else own
        self._schedules = schedules
        self.version: str | None = None
        kinds = [DRAINED.format(many) for many in _WORKERS] + [LATE.format(rate) for rate in contender.rates]
        if contender.is_ours:
            kinds += [IDLE.format(schedules), KILLED]
        self.cases = tuple(Case(contender.label, kind) for kind in kinds)

    def __enter__(self) -> Self:
        if self._contender.library is not None:
            self.version = version_of(self._python, self._contender.library)
        return self

    def __exit__(self, *_: object) -> None: ...

    def visit(self, cases: Sequence[Case], seed: int) -> Iterator[Sample]:
        """One measurement of each."""
        del seed  # nothing here is random
        for case in cases:
            if case.kind == KILLED:
                values = self._killed()
            elif case.kind == IDLE.format(self._schedules):
                values = self._idle()
            elif case.kind in map(DRAINED.format, _WORKERS):
                values = self._drained(next(many for many in _WORKERS if DRAINED.format(many) == case.kind))
            else:
                rates = self._contender.rates
                values = self._late(next(rate for rate in rates if LATE.format(rate) == case.kind))
            yield Sample(case, values)

    def _group(self, workers: int, **what: Any) -> Workers:
        return Workers(self._contender, workers, python=self._python, server=self._server, folder=self._folder, **what)

    # -- what is measured

    def _drained(self, workers: int) -> dict[str, float]:
        """Runs a second, from the first body to the last; all are due at one moment, at which all workers stand."""
        many = self._contender.drained
        with self._group(workers, many=many) as group:
            before = group.asked()
            until(lambda: group.count() >= many, "all runs to be drained", within=_PATIENCE, pause=0.05)
            pass_by(1.2)  # whoever runs one twice does it now; and the server has counted
            asked = [after - earlier for earlier, after in zip(before, group.asked(), strict=True)]
            notes = group.notes()
        begun = sorted(begun for _, _, begun in notes)
        twice = sum(times > 1 for times in Counter(number for number, _, _ in notes).values())
        return {
            "runs a second": (many - 1) / ((begun[-1] - begun[0]) / 1e9),
            "begun twice": twice,
            "statements a run": asked[0] / many,
            "commits a run": asked[1] / many,
        }

    def _late(self, rate: int) -> dict[str, float]:
        """How late the bodies begin: as many schedules as there are fires a second, spread evenly over it."""
        workers = 1 if self._contender.library is not None else 2
        with self._group(workers, many=rate, period=1.0, seconds=self._seconds + 2 * _SETTLED + _CATCH_UP) as group:
            pass_by(max(0.0, group.at + _SETTLED - time.time()))
            catch_up(group)
            begin = time.time_ns()
            before = group.asked()
            pass_by(self._seconds)
            asked = [after - earlier for earlier, after in zip(before, group.asked(), strict=True)]
            end = time.time_ns()
            pass_by(_SETTLED / 2)
            notes = group.notes()
        counted = [(number, due, begun) for number, due, begun in notes if begin <= due < end]
        assert counted, (
            f"{self.name}: nothing that was due in {self._seconds:g} s has begun: {rate:,} a second are too many"
        )
        late = spread([(begun - due) / 1e6 for _, due, begun in counted], "ms")
        times = Counter((number, due) for number, due, _ in counted)
        return {
            "late p50 ms": late.p50,
            "late p99 ms": late.p99,
            "late max ms": late.max,
            "early": sum(begun < due for _, due, begun in counted),
            "begun twice": sum(many > 1 for many in times.values()),
            "missing": round(rate * (end - begin) / 1e9) - len(times),
            "statements a fire": asked[0] / len(counted),
            "commits a fire": asked[1] / len(counted),
        }

    def _idle(self) -> dict[str, float]:
        """What an instance asks of the server while nothing is due."""
        started = time.monotonic()
        with self._group(1, many=self._schedules, ahead=3600.0) as group:
            stood = time.monotonic() - started
            pass_by(3.0)
            before, begun = group.asked(), time.monotonic()
            pass_by(self._seconds)
            elapsed = time.monotonic() - begun
            asked = [(after - earlier) / elapsed for earlier, after in zip(before, group.asked(), strict=True)]
        return {"statements a second": asked[0], "commits a second": asked[1], "seconds to stand": stood}

    def _killed(self) -> dict[str, float]:
        """From the SIGKILL of all processes of an instance to the new beginning of its run on the other."""
        with self._group(2, many=0) as group:
            group.run_now("wait")
            until(lambda: group.count() == 1, "the run to begin")
            killed = time.time_ns()
            group.kill_executor()
            until(lambda: group.count() == 2, "the run to begin again", pause=0.002)
            (again,) = [begun for attempt, _, begun in group.notes() if attempt == 2]
        return {"ms": (again - killed) / 1e6}


def catch_up(group: Workers) -> None:
    """Wait until what has become due while the workers came is worked off; who never gets there is late."""
    deadline = time.monotonic() + _CATCH_UP
    while time.monotonic() < deadline and group.behind() > _UP_TO_DATE:
        pass_by(0.1)


class Workers:
    """Processes of one contender that stand, on a new database.

    Attributes:
        at: The first time (s since 1970).

    Args:
        contender: Whose.
        workers: How many of them.
        python: Their interpreter.
        server: Where the database is made.
        folder: Where one for this visit is made.
        many: See `benchmarks.jobs.work.Work`; so are the others.
        ahead: Seconds until the first time, more than those that it takes to stand.
    """

    def __init__(
        self,
        contender: Contender,
        workers: int,
        *,
        python: Path,
        server: Postgresql,
        folder: Path,
        many: int,
        period: float = 0.0,
        seconds: float = 0.0,
        ahead: float = 0.0,
    ) -> None:
        self._contender, self._workers, self._server = contender, workers, server
        self._python, self._around, self._ahead = python, folder, ahead
        self._database = f"bench_{uuid.uuid4().hex[:12]}"
        self._given = {"BENCH_MANY": str(many), "BENCH_PERIOD": str(period), "BENCH_SECONDS": str(seconds)}
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._around)))
            self._notes = self._folder / "notes"
            self._notes.touch()
            self._server.run(f"CREATE DATABASE {self._database}")
            stack.callback(self._server.run, f"DROP DATABASE {self._database} WITH (FORCE)")
            self.url = f"postgresql://owner:{self._server.password}@127.0.0.1:{self._server.port}/{self._database}"
            self.at = float(round(time.time() + self._contender.lead + 2 * self._workers + self._ahead))
            if not self._contender.is_ours:  # ours declares its schedules in the workers
                prepared = self._start("prepare")
                assert prepared.wait(_PATIENCE) == 0, f"{self._contender.label}: could not be prepared: {self._said()}"
            stack.callback(self._end)
            self._processes = [self._start(f"w{number}") for number in range(self._workers)]
            until(self._stand, f"{self._workers} workers of {self._contender.label} to stand", within=_PATIENCE)
            assert time.time() < self.at, f"{self._contender.label}: {self._workers} workers do not stand in time"
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def asked(self) -> tuple[int, int]:
        """How many statements and commits the server has had for this database so far."""
        (statements,), (commits,) = (
            self._server.run(
                "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid"
                f" WHERE d.datname = '{self._database}'"
            )[0],
            self._server.run(f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{self._database}'")[0],
        )
        return int(str(statements)), int(str(commits))

    def count(self) -> int:
        """How many bodies have begun."""
        return self._notes.stat().st_size // NOTE.size

    def notes(self) -> list[tuple[int, int, int]]:
        """What they have noted: which schedule, when it was due, and when the body began (ns)."""
        said = self._notes.read_bytes()
        return [NOTE.unpack_from(said, at) for at in range(0, len(said) // NOTE.size * NOTE.size, NOTE.size)]

    def behind(self) -> float:
        """How late the body was that has begun last (s)."""
        last = self.notes()[-1:]
        return (last[0][2] - last[0][1]) / 1e9 if last else float("inf")

    def run_now(self, job: str) -> None:
        """Have one of Locum's jobs run."""
        asyncio.run(Jobs(Roster(), lambda: self.url, namespace="bench").run_now(job))

    def kill_executor(self) -> None:
        """End all processes of the instance that runs something, at once."""
        ((name,),) = self._server.run("SELECT instance FROM locum.job_runs", database=self._database)
        process = self._processes[int(str(name).removeprefix("w"))]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    # -- inside

    def _stand(self) -> bool:
        assert all(process.poll() is None for process in self._processes), self._said()
        if not self._contender.is_ours:
            return all(
                STANDING in (self._folder / f"w{number}.out").read_text() for number in range(len(self._processes))
            )
        try:
            found = self._server.run("SELECT count(*) FROM locum.job_rosters", database=self._database)
        except psycopg.Error:
            return False  # the tables are not there yet
        return found == [(len(self._processes),)]

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        module = f"benchmarks.jobs.contenders.{self._contender.module}"
        command = [str(self._python), "-P", "-m", module]
        if self._contender.is_ours:
            command = [str(self._python), "-P", "-m", "locum", "run", f"{module}:host", "--name", name]
        environment = {
            **os.environ,
            **self._given,
            "PYTHONPATH": f"{_ROOT}{os.pathsep}{_ROOT / 'src'}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "BENCH_SERVER": self.url,
            "BENCH_AT": str(self.at),
            "BENCH_NOTES": str(self._notes),
            "BENCH_ROLE": "prepare" if name == "prepare" else "work",
            "BENCH_VARIANT": self._contender.variant,
        }
        with (self._folder / f"{name}.out").open("wb") as file:
            return subprocess.Popen(
                command,
                env=environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _said(self) -> str:
        """The last words of all."""
        said = [path.read_text(errors="replace").splitlines() for path in sorted(self._folder.glob("*.out"))]
        return "; ".join(lines[-1] for lines in said if lines) or "nothing was said"

    def _end(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
