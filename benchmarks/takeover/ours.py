"""Locum as a subject: the fault tests' clusters, hurt in every way that its takeovers differ in."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.harness import Case, Sample, Unavailable
from benchmarks.takeover import FREEZE_ENDS_AFTER, FROZEN, KILLED, RELEASED, WATCHED
from benchmarks.takeover.judgement import Mark, successor, values
from tests.faults.kit.cluster import PID_NAMESPACE, Cluster
from tests.faults.kit.processes import descendants, inner_pid, send
from tests.faults.kit.rows import now
from tests.faults.kit.runs import INJURIES
from tests.faults.kit.waiting import LONG, pass_by, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

    from tests.faults.kit.cluster import Instance
    from tests.faults.kit.places import Place

__all__ = ["LocumSubject", "LostMachineSubject"]

_INJURIES: Final = {
    Case("Locum, worker", KILLED): "worker-killed",
    Case("Locum, whole instance", KILLED): "instance-killed",
    Case("Locum, SIGTERM", RELEASED): "terminated",
    Case("Locum, resigned", RELEASED): "resigned",
    Case("Locum", FROZEN): "frozen",
}
_LOST: Final = Case("Locum, lost machine", KILLED)


class LocumSubject:
    """Three instances on a SQLite file, or on another place.

    Args:
        ttl: Seconds.
        folder: Where the folders of the visits are made.
    """

    name = "Locum"
    injuries: Mapping[Case, str] = _INJURIES

    def __init__(self, *, ttl: float, folder: Path) -> None:
        self._ttl, self._folder = ttl, folder

    @property
    def cases(self) -> Sequence[Case]:
        """All that can be measured of it."""
        return tuple(self.injuries)

    def place(self) -> Place | None:
        """Where nothing is yet; a file of the cluster's own if none is given."""
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def visit(self, cases: Sequence[Case], seed: int) -> Iterator[Sample]:
        """Three instances, whose active one is hurt once for each case."""
        with tempfile.TemporaryDirectory(dir=self._folder) as name, contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))  # a cluster tells at its end what was said
            cluster = stack.enter_context(Cluster(Path(name), place=self.place(), ttl=self._ttl, seed=seed))
            for case in cases:
                active = self.stand(cluster)
                cluster.phase(self._ttl / 3)
                yield Sample(case, self._hurt(cluster, active, case))

    def stand(self, cluster: Cluster) -> Instance:
        """Three fresh enough instances; the active one."""
        cluster.renew()
        return cluster.stand()

    def injure(self, cluster: Cluster, active: Instance, case: Case) -> list[int]:
        """Do it.

        Returns:
            The processes that are to go on later.
        """
        if case.kind == FROZEN:
            return cluster.freeze(active)
        INJURIES[self.injuries[case]](cluster, active)
        return []

    def _hurt(self, cluster: Cluster, active: Instance, case: Case) -> dict[str, float]:
        old = cluster.rows.last()
        assert old is not None
        frozen = self.injure(cluster, active, case)
        hurt = now()

        def taken_over() -> Mark | None:
            cluster.rows.read()
            return successor(_marks(cluster), old.token, hurt)

        until(taken_over, f"a successor, {case.label}, {case.kind}", within=LONG + 3 * self._ttl, pause=0.02)
        resumed = 0
        if case.kind == FROZEN:
            pass_by(FREEZE_ENDS_AFTER)
            resumed = now()
            cluster.resume(frozen)
        pass_by(WATCHED[case.kind])
        cluster.judge()
        return values(_marks(cluster), old.token, hurt, resumed=resumed)


class LostMachineSubject(LocumSubject):
    """Instances that cannot witness each other's end, as on different machines: each in a pid namespace of its own."""

    name = "Locum, lost machine"
    injuries: Mapping[Case, str] = {_LOST: "machine-lost"}

    def __enter__(self) -> Self:
        if shutil.which("unshare") is None or os.geteuid() != 0:
            raise Unavailable("only root may make the pid namespaces that stand for machines")
        return self

    def stand(self, cluster: Cluster) -> Instance:
        """Three instances below a PID 1 each; the active one."""
        while len(cluster.alive()) < 3:
            cluster.start(below=PID_NAMESPACE)
        return cluster.stand()

    def injure(self, cluster: Cluster, active: Instance, case: Case) -> list[int]:
        """End everything in the namespace at once."""
        del cluster, case
        send(next(pid for pid in descendants(active.process.pid) if inner_pid(pid) == 1), signal.SIGKILL)
        return []


def _marks(cluster: Cluster) -> list[Mark]:
    return [Mark(row.at, row.token) for row in cluster.rows.rows]
