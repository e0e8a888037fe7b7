"""What one connection has seen of its store, and what becomes of a store that is another than was seen (R24).

Every driver whose store has an incarnation and a revision compares them in the same way; here is how.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from locum.errors import NoStoreError, StoreReplacedError, StoreUnavailableError

if TYPE_CHECKING:
    from locum.errors import StoreError
    from locum.store import Seen

__all__ = ["LEAP", "RENEWED", "Sight", "difference", "is_successor", "missing", "revision_above"]

LEAP: Final = 1 << 40
"""A new incarnation's revisions begin at the next multiple of this, above all that anybody has seen of the last."""

RENEWED: Final = b"was closed: the store has begun a new incarnation"
"""Why the sessions of an earlier incarnation are closed."""

_TAKEN_UP: Final = "it was taken up anew while the answer came; ask again"


def revision_above(*revisions: int) -> int:
    """Where a new incarnation begins that comes after these revisions."""
    return (max(revisions, default=0) // LEAP + 1) * LEAP


def difference(seen: Seen | None, found: Seen) -> str | None:
    """Why what is found is not what was seen, in words; `None` if it is."""
    if seen is None:
        return None
    if found.incarnation != seen.incarnation:
        return "it has another identity, and was wiped or exchanged"
    if found.revision < seen.revision:
        return "it is older than what was seen of it, and was put back"
    return None


def is_successor(found: Seen, seen: Seen) -> bool:
    """Whether what is found was begun after what was seen, by somebody who met the same.

    Such a one begins a leap above it; another store, or an earlier incarnation, does not.
    """
    return found.incarnation != seen.incarnation and found.revision // LEAP > seen.revision // LEAP


def missing(store: str) -> NoStoreError:
    """The error for one who opens a store without making it, where there is none.

    Args:
        store: Its URL, for messages.
    """
    why = "there is no store yet; start an instance with `locum run`, or check what names the store"
    return NoStoreError(store, why)


class Sight:
    """What this process has seen of a store, for all threads of one connection.

    Once something else was found, it is said again at every call, until that is adopted.

    Args:
        store: The store's URL, for messages.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._guard = threading.Lock()
        self._seen: Seen | None = None
        self._found: str | None = None

    @property
    def seen(self) -> Seen | None:
        """What was seen."""
        with self._guard:
            return self._seen

    def adopt(self, seen: Seen | None) -> None:
        """Go on from here."""
        with self._guard:
            self._seen, self._found = seen, None

    def demand(self) -> Seen | None:
        """What is to be compared with what is found; to be asked *before* a call, or its transaction's snapshot.

        Raises:
            StoreReplacedError: Something else was found already.
        """
        with self._guard:
            if self._found is not None:
                raise StoreReplacedError(self._store, self._found)
            return self._seen

    def compare(self, seen: Seen | None, found: Seen) -> None:
        """Compare what was seen before a call with what is found in it.

        Raises:
            StoreReplacedError: It is another incarnation, or a lower revision.
            StoreUnavailableError: So it is, but since the call began another one was taken up: nothing was done.
        """
        why = difference(seen, found)
        if why is not None:
            raise self.replaced(why, seen=seen)

    def replaced(self, found: str, *, seen: Seen | None = None) -> StoreError:
        """Remember, and say, that something else was found.

        Args:
            found: What, in words.
            seen: With what it was compared, if it was. Where another store was taken up since, that is no news: to say
                it at every call from now on would hold up everybody for ever. What is there now the next call tells.
        """
        with self._guard:
            if seen is not None and self._has_taken_up_another_than(seen):
                return StoreUnavailableError(self._store, _TAKEN_UP)
            self._found = self._found or found
            return StoreReplacedError(self._store, self._found)

    def _has_taken_up_another_than(self, seen: Seen) -> bool:
        now = self._seen  # by itself a store never shows less than before
        return now is not None and (now.incarnation != seen.incarnation or now.revision < seen.revision)

    def note(self, found: Seen) -> None:
        """Remember what an answer shows.

        Raises:
            StoreUnavailableError: It shows an incarnation that is no longer ours.
        """
        with self._guard:
            if self._seen is not None and self._seen.incarnation != found.incarnation:
                raise StoreUnavailableError(self._store, _TAKEN_UP)
            if self._seen is None or self._seen.revision < found.revision:
                self._seen = found
