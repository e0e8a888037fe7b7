"""Collecting what nobody uses any more, so that names that were used once leave nothing behind (R20).

A grant is deleted by its revision, after the namespace's floor was raised to its token: whoever took it meanwhile has
moved the revision, and whoever makes it anew reads the floor after that, so no token comes back. A grant with a value
is not idle: somebody may come back for it.

Whoever gave a grant up with nobody in line collects it a moment later, many at once. What others left (they died, or
those in line went away) is collected by whoever has seen it unchanged for a whole round of looking for leftovers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locum.clock import nanoseconds, seconds
from locum.coordination.barrier import BARRIERS, Muster
from locum.coordination.grant import Grant
from locum.coordination.line import line_prefix
from locum.errors import ConflictError, CorruptRecordError, StoreError
from locum.floor import Floor
from locum.journal import Journal
from locum.scopes import all_of
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from locum.coordination.commons import Commons, Idle
    from locum.store import Record

__all__ = ["Collector"]

_log = logger("coordination.collecting")
_AT_ONCE: Final = 16  # one after the other, they would be fewer than what many tasks leave meanwhile


class Collector:
    """Deletes idle grants.

    Args:
        commons: Whose session it runs under.
    """

    def __init__(self, commons: Commons) -> None:
        self._commons, self._store = commons, commons.store
        self._seen: dict[str, int] = {}  # what the last round found idle: key, and revision

    async def run(self) -> None:
        """Collect what was given up here, for ever."""
        while True:
            lease = await self._commons.leases.lease()
            pause = seconds(lease.budget.beat)
            await self._commons.clock.sleep(pause)
            self._commons.crowded.clear()
            await self.collect(idle_for=pause)

    async def collect(self, *, idle_for: float) -> None:
        """Collect what was given up here so many seconds ago, and was not asked for since."""
        idle = self._commons.idle
        if not idle:
            return
        since = self._commons.clock.now() - nanoseconds(idle_for)
        due = {scope: one for scope, one in list(idle.items()) if one.since <= since}
        try:
            await self._delete(due)
        except StoreError as error:
            _log.debug("idle grants are not collected: %s", error)
            return
        for scope, one in due.items():
            if idle.get(scope) is one:
                del idle[scope]

    async def look(self, grants: Sequence[Record], places: Iterable[Record]) -> None:
        """Collect what others left: what is idle, and was when this was asked last.

        Args:
            grants: The records of all grants.
            places: Those of all lines.
        """
        waited_for = {record.key.rpartition("/")[0] + "/" for record in places}
        found: dict[str, int] = {}
        due: list[tuple[Record, Grant]] = []
        for record in grants:
            scope = record.key.removeprefix("grant/")
            grant = _idle(record)
            if grant is None or line_prefix(scope) in waited_for:
                continue
            found[record.key] = record.revision
            if self._seen.get(record.key) == record.revision and await self._is_vacant(grant):
                due.append((record, grant))
        if due:
            await Floor.lift(self._store, max(grant.token for _, grant in due))
        for record, _ in due:
            await Journal(self._store).collect(record.key.removeprefix("grant/"))
            await self._delete_by_revision(record.key, record.revision)
        self._seen = found | await self._look_at_barriers()

    async def _is_vacant(self, grant: Grant) -> bool:
        """Whether all that a grant names are gone, by tombstones that were read after it (R11)."""
        sessions = await self._store.sessions([occupant.session for occupant in grant.occupants])
        return not sessions.quarantined and all(status.is_closed for status in sessions.by_id.values())

    async def _look_at_barriers(self) -> dict[str, int]:
        """The same for barriers at which nobody waits: whoever still asks what became of its arrival knows by now."""
        found: dict[str, int] = {}
        for record in (await self._store.list(BARRIERS)).records:
            try:
                if Muster.of(record).arrived:
                    continue
            except CorruptRecordError:
                continue
            if self._seen.get(record.key) == record.revision:
                await self._delete_by_revision(record.key, record.revision)
            found[record.key] = record.revision
        return found

    async def _delete(self, due: dict[str, Idle]) -> None:
        if not due:
            return
        await Floor.lift(self._store, max(one.token for one in due.values()))
        left = iter(due.items())

        async def delete_some() -> None:
            for scope, one in left:
                await self._delete_by_revision(f"grant/{scope}", one.revision)

        await all_of(delete_some() for _ in range(min(_AT_ONCE, len(due))))

    async def _delete_by_revision(self, key: str, revision: int) -> None:
        try:
            await self._store.delete(key, expect=revision)
        except ConflictError:
            pass  # it is used again


def _idle(record: Record) -> Grant | None:
    """The grant, if nobody who is known to live needs it."""
    try:
        grant = Grant.of(record)
    except CorruptRecordError:
        return None
    if record.key.startswith("grant/election/"):
        # what was proclaimed is of its term; and of one whose holder died, its successor is to note how
        return None if grant.occupants or grant.reserved is not None else grant
    return None if grant.value is not None else grant
