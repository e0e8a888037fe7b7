"""The peers as subjects: what each needs, and how its active process is hurt."""

from __future__ import annotations

import random
import signal
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.harness import Case, Sample, Unavailable
from benchmarks.peers.group import Group
from benchmarks.peers.servers import SERVERS
from benchmarks.takeover import FREEZE_ENDS_AFTER, FROZEN, KILLED, KINDS, WATCHED
from benchmarks.takeover.judgement import Mark, successor, values
from tests.faults.kit import processes
from tests.faults.kit.rows import now
from tests.faults.kit.waiting import LONG, pass_by, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from benchmarks.peers.group import Member

__all__ = ["PEERS", "Peer", "PeerSubject", "version_of"]


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer.

    Attributes:
        label: In the report.
        module: Of `benchmarks.peers`.
        server: Of `SERVERS`.
        library: The distribution that it needs, if any.
    """

    label: str
    module: str
    server: str
    library: str | None


PEERS: Final = (
    Peer("redis-py Lock, renewed", "redis_lock", "redis", "redis"),
    Peer("tooz leader (Redis)", "tooz_leader", "redis", "tooz"),
    Peer("aetcd Lock, refreshed", "aetcd_lock", "etcd", "aetcd"),
    Peer("kazoo Election + listener", "kazoo_election", "zookeeper", "kazoo"),
    Peer("naive: registers each second", "naive", "none", None),
)


class PeerSubject:
    """One peer, with a server of its own.

    Args:
        peer: Which.
        python: The interpreter that has its library.
        ttl: Seconds.
        folder: Where the folders of the server and of the visits are made.
    """

    def __init__(self, peer: Peer, *, python: Path, ttl: float, folder: Path) -> None:
        self.name = peer.label
        self.cases = tuple(Case(peer.label, kind) for kind in KINDS)
        self._peer, self._python, self._ttl, self._folder = peer, python, ttl, folder
        self.version: str | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._peer.library is not None:
                self.version = version_of(self._python, self._peer.library)
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder))
            self._server = stack.enter_context(SERVERS[self._peer.server](Path(folder)))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def visit(self, cases: Sequence[Case], seed: int) -> Iterator[Sample]:
        """Three processes, whose active one is hurt once for each case."""
        luck = random.Random(seed)
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            folder = Path(name)
            server = str(folder / "shared.db") if self._peer.server == "none" else self._server
            group = Group(self._peer.module, python=self._python, server=server, ttl=self._ttl, folder=folder)
            with group:
                for case in cases:
                    active = group.stand()
                    pass_by(luck.uniform(0, self._ttl / 3))  # at any phase of the renewals, of which a TTL has three
                    yield Sample(case, self._hurt(group, active, case.kind))
                    group.remove(active)

    def _hurt(self, group: Group, active: Member, kind: str) -> dict[str, float]:
        number = {KILLED: signal.SIGKILL, FROZEN: signal.SIGSTOP}.get(kind, signal.SIGTERM)
        assert processes.send(active.pid, number), f"{self.name}: the active one has ended by itself"
        hurt = now()

        def taken_over() -> Mark | None:
            group.rows.read()
            return successor(_marks(group), active.pid, hurt)

        until(taken_over, f"a successor, {self.name}, {kind}", within=LONG + 3 * self._ttl, pause=0.02)
        resumed = 0
        if kind == FROZEN:
            pass_by(FREEZE_ENDS_AFTER)
            resumed = now()
            processes.send(active.pid, signal.SIGCONT)
        pass_by(WATCHED[kind])
        group.rows.read()
        return values(_marks(group), active.pid, hurt, resumed=resumed)


def _marks(group: Group) -> list[Mark]:
    return [Mark(row.at, row.pid) for row in group.rows.rows]


def version_of(python: Path, library: str) -> str:
    """The name and version of a peer's library.

    Raises:
        Unavailable: It is not installed there.
    """
    code = f"import importlib.metadata as m; print(m.version({library!r}))"
    try:
        found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Unavailable("the peers' environment is not there; `make bench` makes it") from None
    if found.returncode:
        raise Unavailable(f"the library {library} is not installed in the peers' environment; `make bench` does it")
    return f"{library} {found.stdout.strip()}"
