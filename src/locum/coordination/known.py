"""What stands under a prefix, read: of a thousand records only the one that has changed is asked for, and read anew.

Whoever knew all that stood there at a revision learns what was written since, and how many stand there now. What was
not written since stands there as it did, or was deleted; so if as many are known then as stand there, they are the
same. If not, all are listed: of what was told to have changed, it is asked by name whether it is there, and so that is
rare. A wake-up that was lost, or names too much, costs a list and no truth.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Generic, TypeVar

from locum.errors import CorruptRecordError
from locum.store import Listing, Seen
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from locum.store import Record

__all__ = ["Ask", "Known", "readable"]

S = TypeVar("S")
T = TypeVar("T")

Ask = Callable[[int | None, Collection[str]], Awaitable[Listing]]
"""Lists what stands there: all, or what was written after a revision and what is named."""

_log = logger("coordination.known")


class Known(Generic[T]):
    """Lists and reads records, and remembers what each was read as until it is another one, or gone.

    Args:
        read: Reads one; raises `CorruptRecordError` where it is something else, which hides no others.
    """

    def __init__(self, read: Callable[[Record], T]) -> None:
        self._read = read
        self._known: dict[str, tuple[Record, tuple[T, ...]]] = {}
        self._at: Seen | None = None

    async def look(self, ask: Ask, told: Collection[str] = ()) -> tuple[T, ...]:
        """What stands there at this moment, in the order of creation.

        Args:
            ask: Lists it.
            told: Keys of which it was told that they have changed.
        """
        at = self._at
        if at is not None:
            named = {key for key in told if key in self._known}
            since = await ask(at.revision, named)
            known = {key: one for key, one in self._known.items() if key not in named} | self._read_all(since.records)
            # in a store that was exchanged for another, the revision says nothing of what was there
            if since.incarnation == at.incarnation and len(known) == since.count:
                return self._keep(known, since)
        whole = await ask(None, ())
        return self._keep(self._read_all(whole.records), whole)

    def _read_all(self, records: Iterable[Record]) -> dict[str, tuple[Record, tuple[T, ...]]]:
        found = {}
        for record in records:
            known = self._known.get(record.key)
            if known is None or known[0] != record:
                known = record, tuple(readable([record], self._read))
            found[record.key] = known
        return found

    def _keep(self, known: dict[str, tuple[Record, tuple[T, ...]]], listing: Listing) -> tuple[T, ...]:
        self._known, self._at = known, Seen(listing.incarnation, listing.revision)
        in_order = sorted(known.values(), key=lambda one: one[0].created)
        return tuple(one for _, ones in in_order for one in ones)


def readable(found: Iterable[S], read: Callable[[S], T]) -> Iterable[T]:
    """What can be read of what was found: one that cannot be (`CorruptRecordError`) hides no others."""
    for one in found:
        try:
            yield read(one)
        except CorruptRecordError as error:
            _log.warning("passed over: %s", error)
