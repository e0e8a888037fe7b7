"""What has changed for those who wait here, asked once for all of them (F46): a wake-up that was lost is made up for.

Whoever waits is told of what may bring its turn. In case that gets lost, a process asks now and then whether the store
has changed at all. Where it has, and many wait here, it lists the grants of all elections and the open sessions, and
from these each sees whether something of its own has changed. Only then it looks itself: so what it costs to stand by
does not grow with elections. All of this is economy; whose turn it is, only a look says.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from locum.clock import nanoseconds
from locum.coordination.grant import grant_key
from locum.errors import StoreError
from locum.store import Seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locum.clock import Clock
    from locum.coordination.grant import Grant
    from locum.store import Store

__all__ = ["Survey"]

_ELECTIONS: Final = "election/"
"""Scopes whose grants are few enough to be listed; locks may be of any number."""

_FEW: Final = 3
"""So many look themselves: that is cheaper than a list."""


class Survey:
    """Of one store, for all who wait in one process.

    Args:
        store: The store.
        clock: Measures how old an answer is.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._asking = asyncio.Lock()
        self._latest: Seen | None = None
        self._asked = 0
        self._waiting = 0
        self._listed: Seen | None = None
        self._revisions: dict[str, int] = {}
        self._open: frozenset[str] = frozenset()

    @contextmanager
    def waiting(self, scope: str) -> Iterator[None]:
        """For the length of the block somebody waits here for a scope."""
        one = scope.startswith(_ELECTIONS)
        self._waiting += one
        try:
            yield
        finally:
            self._waiting -= one

    async def has_changed(self, seen: Seen | None) -> bool:
        """Whether the store is not any more as it was seen; asked once for all who want to know at about that time."""
        async with self._asking:
            age = self._clock.now() - self._asked
            if self._latest is None or age > nanoseconds(self._store.guarantees().poll_interval / 2):
                try:
                    now = await self._store.sessions([])
                except StoreError:
                    return True  # whoever looks learns of it
                self._latest, self._asked = Seen(now.incarnation, now.revision), self._clock.now()
            return not _is_as_late(seen, self._latest)

    async def concerns(self, scope: str, grant: Grant) -> bool:
        """Whether a grant is not as a look has shown it, or a session that it names has ended; or may be."""
        if self._waiting <= _FEW or not scope.startswith(_ELECTIONS):
            return True
        async with self._asking:
            if self._latest is None or not _is_as_late(self._listed, self._latest):
                try:
                    await self._list()
                except StoreError:
                    return True
            is_same = self._revisions.get(grant_key(scope)) == grant.revision
            return not is_same or any(one.session not in self._open for one in grant.occupants)

    async def _list(self) -> None:
        grants = await self._store.list(grant_key(_ELECTIONS))
        sessions = await self._store.sessions()
        self._revisions = {record.key: record.revision for record in grants.records}
        self._open = frozenset(one.id for one in sessions.by_id.values() if one.is_open)
        self._listed = Seen(sessions.incarnation, grants.revision)


def _is_as_late(seen: Seen | None, latest: Seen) -> bool:
    return seen is not None and seen.incarnation == latest.incarnation and seen.revision >= latest.revision
