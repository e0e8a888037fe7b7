"""Who held what, when, and why it ended: a ring of fixed keys for each election, one entry a term.

What has a name of the user's making, such as a lock, shares one ring with its kind, so that names leave nothing behind.

An entry is written when a term has ended, by its holder or, where that died, by its successor; both write the same key,
so a term never has two. The term that still runs is in the grant. Times are wall times for people; nothing is decided
by them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from locum.errors import CorruptRecordError
from locum.store import ANY

if TYPE_CHECKING:
    from locum.store import Record, Store

__all__ = ["Entry", "Journal"]

_RING: Final = 64
_COLLECTED: Final = "journal/collected/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One term that has ended.

    Attributes:
        scope: What was held, such as `election/settlement`.
        token: The term's token.
        instance: Who held it.
        since: When it began (ISO 8601, UTC).
        until: When its end was noted (ISO 8601, UTC).
        why: How it ended, in words that follow the instance's name.
        told_by: Who wrote the entry: the holder, or its successor.
    """

    scope: str
    token: int
    instance: str
    since: str
    until: str
    why: str
    told_by: str

    @classmethod
    def of(cls, record: Record) -> Entry:
        """The entry that a record holds.

        Raises:
            CorruptRecordError: It holds something else.
        """
        try:
            value = json.loads(record.value)
            return cls(**{**value, "token": int(value["token"])})
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRecordError(record.key, f"it is no journal entry ({error})") from error

    def is_of(self, scope: str, token: int) -> bool:
        """Whether it tells of that very term."""
        return (self.scope, self.token) == (scope, token)


class Journal:
    """The journal of one namespace.

    Args:
        store: Where it is kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def note(self, entry: Entry, *, unless_noted: bool = False) -> None:
        """Write the entry of a term; one call.

        Args:
            entry: The entry.
            unless_noted: Leave an entry alone that stands there for the same term; that costs a call more.
        """
        key = f"{_ring(entry.scope)}{entry.token % _RING}"
        if unless_noted:
            noted = await self._store.read(key)
            if noted is not None and Entry.of(noted).is_of(entry.scope, entry.token):
                return
        await self._store.write(key, _to_bytes(entry), expect=ANY)

    async def collect(self, scope: str) -> None:
        """Clear the ring of an election that is not used any more; its last entry goes to the ring of all of those."""
        if _ring(scope) == f"journal/{scope}/":
            records = (await self._store.list(_ring(scope))).records
            if records:
                last = Entry.of(max(records, key=lambda record: record.revision))
                await self._store.write(f"{_COLLECTED}{last.token % _RING}", _to_bytes(last), expect=ANY)
            for record in records:
                await self._store.delete(record.key, expect=ANY)

    async def entries(self, scope: str | None = None) -> list[Entry]:
        """The entries of one scope, or of all, by the time they were noted.

        Raises:
            CorruptRecordError: One of them cannot be read.
        """
        listing = await self._store.list(_ring(scope) if scope else "journal/")
        entries = [Entry.of(record) for record in sorted(listing.records, key=lambda record: record.revision)]
        return [entry for entry in entries if scope in (None, entry.scope)]


def _to_bytes(entry: Entry) -> bytes:
    return json.dumps(asdict(entry)).encode()


def _ring(scope: str) -> str:
    """The prefix of the ring in which a scope's entries stand."""
    kind = scope.partition("/")[0]
    return f"journal/{scope}/" if kind == "election" else f"journal/{kind}/"
