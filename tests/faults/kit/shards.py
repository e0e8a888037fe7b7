"""Sharded services as a row watches them: the plan, the owners, and the rows of each shard."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from locum.coordination.assignment import least_moves, moves
from tests.faults.kit import judges
from tests.faults.kit.processes import send
from tests.faults.kit.rows import RowFile
from tests.faults.kit.waiting import LONG, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locum.coordination.plan import Plan
    from tests.faults.kit.cluster import Cluster, Instance

__all__ = ["ShardWatch", "killed", "started", "terminated"]


def started(cluster: Cluster, number: int) -> None:
    """As many instances as this."""
    while len(cluster.alive()) < number:
        cluster.start()


def terminated(cluster: Cluster, instance: Instance) -> None:
    """A planned stop, which ends well."""
    send(cluster.pids(instance).keeper, signal.SIGTERM)
    assert instance.leave() == 0, "a stop that was asked for is clean"


def killed(cluster: Cluster, instance: Instance) -> None:
    """All of an instance, at once."""
    pids = cluster.pids(instance)
    for pid in (pids.guardian, pids.keeper, pids.worker):
        send(pid, signal.SIGKILL)
    instance.leave()


class ShardWatch:
    """Watches the shards of a cluster whose app is `sharded`.

    Args:
        cluster: Whose.
        of: How many there are.
    """

    def __init__(self, cluster: Cluster, of: int) -> None:
        self._cluster, self.of = cluster, of
        self.plans: list[Plan] = []
        """All that were seen, in turn; one that stood for a moment only may be missing."""
        self.strangers: set[str] = set()
        """The sessions of those that take no part."""
        self._rows = [RowFile(cluster.rows.path.with_name(f"{cluster.rows.path.name}-shard-{n}")) for n in range(of)]

    def look(self) -> Plan:
        """The plan of this moment."""
        plan = self._cluster.window.plan("orders")
        if not self.plans or self.plans[-1].epoch != plan.epoch:
            self.plans.append(plan)
        return plan

    def is_beyond(self, plan: Plan) -> bool:
        """Whether another plan is there than this one."""
        now = self.look()
        return (now.owners, now.capacities) != (plan.owners, plan.capacities)

    def owners(self) -> list[str | None]:
        """Who has each shard at this moment."""
        seen = {one.index: one.owner for one in self._cluster.window.shards("orders")}
        return [seen.get(index) for index in range(self.of)]

    def settled(self, *, but: tuple[int, ...] = (), within: float = 2 * LONG) -> list[str | None]:
        """Wait until the plan names the live instances and no other, and each shard is where it is planned.

        Args:
            but: Shards that nobody is to have.
            within: Seconds.

        Returns:
            Who has each shard.
        """

        def all_there() -> list[str | None]:
            plan = self.look()
            names = {instance.name for instance in self._cluster.alive()}
            if set(plan.capacities) != names or set(self._cluster.window.sessions()) - self.strangers != names:
                return []
            owners = self.owners()
            wanted = [None if index in but else owner for index, owner in enumerate(plan.owners)]
            return owners if owners == wanted else []

        try:
            owners = until(all_there, "all shards to be where they are planned", within=within, pause=0.02)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.look()}, owners {self.owners()}") from None
        counts = [owners.count(instance.name) for instance in self._cluster.alive()]
        assert max(counts) - min(counts) <= 1 + len(but), f"the shares are {counts}"
        return owners

    def moves(self) -> int:
        """How often a shard went from one instance to another, so far."""
        return sum(one.moves for one in self._cluster.window.shards("orders"))

    def most_moves(self, forged: Plan, owners: Sequence[str | None]) -> int:
        """What a plan that nobody made may cost, and no more: the moves that it asks for, and as many back.

        Nothing moves to who is not there, and nothing from whom it does not count. The next plan may come while
        only some have moved; then the others, which are on their way, may move once more.

        Args:
            forged: The plan.
            owners: Who has each shard.
        """
        names = {instance.name for instance in self._cluster.alive()}
        asked = [
            planned if planned in names and owner in forged.capacities else owner
            for planned, owner in zip(forged.owners, owners, strict=True)
        ]
        return 2 * moves(owners, asked) + least_moves(asked, dict.fromkeys(names, 1.0))

    def computer(self) -> Instance:
        """The instance that computes the plan."""

        def holder() -> Instance | None:
            grant = self._cluster.window.grant_of("shards/orders")
            alive = [one for one in self._cluster.alive() if grant.holder and one.name == grant.holder.instance]
            return alive[0] if alive else None

        return until(holder, "an instance to compute the plan")

    def judge(self) -> None:
        """Fail if two owners of one shard overlapped, a token fell, work was lost or done twice, or a plan moved more.

        Work is counted by each shard from where its last owner had left it.
        """
        for index, file in enumerate(self._rows):
            file.read()
            found = judges.faults(file.rows)
            assert not found, f"shard {index}: " + "\n".join(found)
        for before, after in zip(self.plans, self.plans[1:], strict=False):
            if after.epoch == before.epoch + 1 and before.owners:
                least = least_moves(before.owners, after.capacities)
                assert moves(before.owners, after.owners) <= 1.05 * least, f"{before} became {after}"

    def numbers(self) -> dict[int, list[int]]:
        """The numbers that each shard has counted, in the order of writing."""
        with closing(sqlite3.connect(f"{self._cluster.rows.path}-books.db", timeout=20)) as books:
            rows = books.execute("SELECT shard, number FROM work ORDER BY rowid").fetchall()
        found: dict[int, list[int]] = {}
        for shard, number in rows:
            found.setdefault(shard, []).append(number)
        return found

    def gap(self, index: int, token: int) -> float:
        """Seconds from the last row of the owner before a token to the first row under it."""
        file = self._rows[index]
        file.read()
        old = max(row.token for row in file.rows if row.token < token)
        return judges.gap(file.rows, old, token) / 1e9

    def has_newer(self, index: int, token: int) -> bool:
        """Whether a shard has written under a newer token."""
        return self.last_token(index) > token

    def last_token(self, index: int) -> int:
        """The newest token under which a shard has written."""
        self._rows[index].read()
        return max((row.token for row in self._rows[index].rows), default=0)
