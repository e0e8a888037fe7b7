"""Clusters of real instances: started, watched through the store, hurt by role, and ended whatever happened."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import locum
from locum.host.host import keeper_command, worker_command
from tests.faults.kit import judges, processes
from tests.faults.kit.places import SqliteFile
from tests.faults.kit.rows import Row, RowFile, now
from tests.faults.kit.waiting import LONG, pass_by, until
from tests.faults.kit.window import Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from locum.journal import Entry as JournalEntry
    from tests.faults.kit.places import Place

__all__ = ["NEEDS_UNSHARE", "PID_NAMESPACE", "Cluster", "Instance", "Pids", "time_namespace"]

PID_NAMESPACE: Final = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""Before a command: its first process is PID 1 of a pid namespace, with a /proc of its own."""

NEEDS_UNSHARE: Final = pytest.mark.skipif(
    os.environ.get("CI") != "true" and (shutil.which("unshare") is None or os.geteuid() != 0),
    reason="not installed: unshare, or no right to use it",
)
"""For tests that make namespaces, which takes root; with CI=true they fail instead of being left out."""

_ROOT: Final = Path(__file__).parents[3]
_SOURCE: Final = Path(locum.__file__).parents[1]  # the same locum that this test imports
_FRESH: Final = 3  # a worker that was ended so often is started again only after seconds


def time_namespace(ahead: int) -> tuple[str, ...]:
    """Before a command: it runs in a time namespace of its own, whose boot clock is so many seconds ahead."""
    unshare = ("unshare", "--time", "--boottime", str(ahead), "--fork", "--kill-child")
    return (*unshare, "env", f"FAULTS_BOOT_AHEAD={ahead}")


@dataclass(frozen=True, slots=True)
class Pids:
    """The processes of an instance, as the tests' own pid namespace numbers them."""

    guardian: int
    keeper: int
    worker: int


@dataclass(slots=True)
class Instance:
    """One instance: what was started, and where its output goes.

    Attributes:
        name: Its name.
        process: The process that was started: the keeper, or what it runs below.
        output: All that it and its worker say.
        injuries: How often its worker was ended.
    """

    name: str
    process: subprocess.Popen[bytes]
    output: Path
    injuries: int = field(default=0)

    @property
    def text(self) -> str:
        """Its output so far."""
        return self.output.read_text(errors="replace")

    @property
    def is_alive(self) -> bool:
        """Whether what was started still runs."""
        return self.process.poll() is None

    def leave(self, *, within: float = LONG) -> int:
        """Wait for its end.

        Returns:
            The exit code; minus the signal that ended it.
        """
        until(lambda: not self.is_alive, f"the end of {self.name}", within=within)
        code = self.process.returncode
        assert isinstance(code, int)
        return code


class Cluster:
    """Instances of one app on one store, in a folder of their own.

    Args:
        folder: For the rows and the outputs.
        place: The store; a file in the folder if none is given.
        app: The module of `tests.faults.apps` that they run.
        ttl: Their TTL in seconds.
        service: The active-passive service that is watched.
        seed: Of the random phases; one is made up and printed if none is given.
        environment: More of it for the instances.
    """

    def __init__(
        self,
        folder: Path,
        *,
        place: Place | None = None,
        app: str = "writer",
        ttl: float = 20.0,
        service: str = "settle",
        seed: int | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.folder, self.app, self.ttl, self.service = folder, app, ttl, service
        self.seed = int(os.environ.get("FAULTS_SEED", "0")) or random.randrange(1, 2**32) if seed is None else seed
        self.random = random.Random(self.seed)
        self.place = place or SqliteFile(folder / "store.db")
        self.url = self.place.url
        self.rows = RowFile(folder / "rows")
        self.instances: list[Instance] = []
        self._order = folder / "order"
        self._mark = f"FAULTS_MARK={uuid.uuid4().hex}"
        self._numbers = itertools.count(1)
        self._environment = environment or {}
        self._beside: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.window = Window(self.url, "faults").__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        processes.end_marked(self._mark)
        for process in [*(instance.process for instance in self.instances), *self._beside]:
            process.wait(LONG)
        self.window.__exit__()
        sys.stdout.write(self.report())

    def report(self) -> str:
        """What the instances said, for whoever has to find out why a test failed."""
        texts = [f"\n--- {instance.name} ({instance.process.args!r})\n{instance.text}" for instance in self.instances]
        return f"seed {self.seed}, TTL {self.ttl:g} s, {self.folder}" + "".join(texts)

    @property
    def database(self) -> Path:
        """The store's file, in a row that is about files."""
        assert isinstance(self.place, SqliteFile), f"{self.place.name} is no file"
        return self.place.path

    # -- starting

    def environment(self, name: str) -> dict[str, str]:
        """The environment of an instance."""
        mark, _, value = self._mark.partition("=")
        return {
            **os.environ,
            **self._environment,
            mark: value,
            "PYTHONPATH": f"{_SOURCE}{os.pathsep}{_ROOT}",
            "PYTHONUNBUFFERED": "1",
            "LOCUM_INSTANCE": name,
            "LOCUM_STORE": self.url,
            "LOCUM_TTL": str(self.ttl),
            "FAULTS_ROWS": str(self.rows.path),
            "FAULTS_ORDER": str(self._order),
        }

    def start(
        self,
        *,
        by_itself: bool = False,
        below: Sequence[str] = (),
        app: str | None = None,
        store: str | None = None,
        name: str | None = None,
    ) -> Instance:
        """Start an instance, without waiting for it.

        Args:
            by_itself: Run the app as a script, whose `host.run()` starts its keeper; otherwise a keeper starts it.
            below: A command line to put before it.
            app: Another app than the cluster's.
            store: Another way to the store.
            name: Its name, of one that has left before; a new one if none is given.
        """
        name, app = name or f"i{next(self._numbers)}", app or self.app
        if by_itself:
            command = [sys.executable, str(_ROOT / "tests/faults/apps" / f"{app}.py")]
        else:
            command = keeper_command(self.worker_command(name, app))
        output = self.folder / f"{name}.{len(self.instances)}.out"
        process = self._popen([*below, *command], name, output, store)
        instance = Instance(name, process, output)
        self.instances.append(instance)
        return instance

    def worker_command(self, name: str, app: str) -> list[str]:
        """What the keeper of an instance starts as its worker."""
        del name
        return worker_command(f"tests.faults.apps.{app}:host")

    def beside(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Run something beside the instances, which ends with the cluster."""
        process = self._popen(command, "beside", self.folder / f"beside-{len(self._beside)}.out")
        self._beside.append(process)
        return process

    def output_beside(self) -> str:
        """What the last one beside the instances has said so far."""
        return (self.folder / f"beside-{len(self._beside) - 1}.out").read_text(errors="replace")

    def _popen(
        self, command: Sequence[str], name: str, output: Path, store: str | None = None
    ) -> subprocess.Popen[bytes]:
        environment = self.environment(name)
        if store is not None:
            environment["LOCUM_STORE"] = store
        with output.open("wb") as file:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.folder,
                start_new_session=True,  # what a terminal tells the tests is not meant for the instances
            )

    def three(self) -> Instance:
        """Three instances, started in both ways; the active one once all stand."""
        while len(self.alive()) < 3:
            self.start(by_itself=len(self.instances) % 2 == 1)
        active = self.stand()
        assert len(self.alive()) == 3, "an instance has left by itself"
        return active

    def alive(self) -> list[Instance]:
        """The instances that have not ended."""
        return [instance for instance in self.instances if instance.is_alive]

    def by_name(self, name: str) -> Instance:
        """The instance of that name."""
        return next(instance for instance in reversed(self.instances) if instance.name == name)

    # -- watching

    def stand(self) -> Instance:
        """Wait until all live instances stand in line and the first of them works.

        Returns:
            The active one.
        """
        try:
            return until(self._standing, "all instances to stand")
        except AssertionError as error:
            raise AssertionError(f"{error}; the store says:\n{self.window.describe(self.service)}") from None

    def _standing(self) -> Instance | None:
        names = {instance.name for instance in self.alive()}
        services = self.window.services()
        modes = {name: shown.get(self.service, {}).get("mode") for name, shown in services.items()}
        active = [name for name, mode in modes.items() if mode == "active"]
        if set(self.window.sessions()) != names or set(modes) != names or len(active) != 1:
            return None
        if {mode for name, mode in modes.items() if name != active[0]} - {"passive"}:
            return None
        if sorted(self.window.line(self.service)) != sorted(names):
            return None
        grant, last = self.window.grant(self.service), self.rows.last()
        if grant.holder is None or grant.holder.instance != active[0] or last is None or last.token != grant.token:
            return None
        return self.by_name(active[0])

    def pids(self, instance: Instance) -> Pids:
        """The keeper and the worker of an instance, once it has a session."""
        return until(lambda: self._pids(instance), f"a session of {instance.name}, and its processes")

    def _pids(self, instance: Instance) -> Pids | None:
        owner = self.window.owners().get(instance.name)
        if owner is None:
            return None
        below = [instance.process.pid, *processes.descendants(instance.process.pid)]
        outer = {processes.inner_pid(pid): pid for pid in below}
        try:
            keeper, worker = outer[owner.keeper.pid], outer[owner.worker.pid]
        except KeyError:
            return None  # it is being ended, or started again, at this very moment
        guardian = processes.parent(keeper)
        return Pids(guardian, keeper, worker) if guardian in below else None

    def phase(self, longest: float = 0.5) -> None:
        """Let a random time pass, so that injuries come at any phase of a beat."""
        pass_by(self.random.uniform(0, longest))

    def last_row(self) -> Row:
        """The last row of all, where there must be one."""
        row = self.rows.last()
        assert row is not None, "nobody has written a row"
        return row

    def takeover(self, token: int, *, within: float = LONG) -> Row:
        """Wait for the first row under a newer token."""
        what = f"a successor of the term {token}"
        return until(lambda: self.rows.first_of_newer(token), what, within=within, pause=0.001)

    @contextmanager
    def store_away(self, active: Instance) -> Iterator[int]:
        """The store is away for the length of the block.

        Yields:
            When the last beat of an instance was sent that may have been answered, or an instant after that.
        """
        self.last_beat(active)
        with self.place.away():
            yield self.last_beat(active) if isinstance(self.place, SqliteFile) else now()

    def last_beat(self, instance: Instance) -> int:
        """When its last beat was sent that the store knows of; where nobody can read that, an instant after it."""

        def beat() -> int | None:
            status = self.window.sessions().get(instance.name)
            return None if status is None else now() if status.beat is None else status.beat

        return until(beat, f"a beat of {instance.name} after the opening")

    def ended(self, token: int) -> JournalEntry:
        """How a term ended, once the journal tells."""
        what = f"an entry of the term {token} in the journal"
        return until(lambda: self.window.journal(self.service).get(token), what)

    def all_write(self, *children: str) -> Row:
        """Wait until the body and all its children have written under its token.

        Returns:
            The body's last row.
        """
        wanted = {"body", *children}

        def have_written() -> Row | None:
            last = self.rows.last()
            if last is None:
                return None
            return last if {row.who for row in self.rows.rows if row.token == last.token} >= wanted else None

        return until(have_written, f"rows of {sorted(wanted)}")

    def judge(self) -> None:
        """Fail if the rows show an overlap, a falling token, or two processes under one token."""
        self.rows.read()
        assert self.rows.rows, "nobody has written a row"
        found = judges.faults(self.rows.rows)
        assert not found, "\n".join(found)

    # -- hurting

    def order(self, words: str, *, to: Instance | None = None) -> None:
        """Give the active body, or an instance's background body, an order, and wait until it has taken it."""
        order = self._order if to is None else self._order.with_name(f"{self._order.name}-{to.name}")
        draft = order.with_suffix(".draft")
        draft.write_text(words)
        draft.rename(order)
        until(lambda: not order.exists(), f"somebody to follow the order {words!r}")

    def freeze(self, instance: Instance) -> list[int]:
        """Stop all processes of an instance.

        Returns:
            Them, for `resume`.
        """
        pids = self.pids(instance)
        frozen = [pids.guardian, pids.keeper, pids.worker, *processes.descendants(pids.worker)]
        for pid in frozen:
            processes.send(pid, signal.SIGSTOP)
        return frozen

    def resume(self, frozen: Sequence[int]) -> None:
        """Let stopped processes go on, those that the kernel has not ended meanwhile.

        From below and one by one: whoever works goes on before those above it can do anything about it.
        """
        for pid in reversed(frozen):
            processes.send(pid, signal.SIGCONT)
            pass_by(0.02)

    def renew(self) -> None:
        """Start instances for those that have ended, and for those whose keepers have become slow to start a worker."""
        for instance in self.alive():
            if instance.injuries >= _FRESH:
                instance.process.send_signal(signal.SIGTERM)
                instance.leave()
        self.three()
