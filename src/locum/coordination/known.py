"""What records were read as, while they stay as they are: of a thousand, only the one that has changed is read anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from locum.errors import CorruptRecordError
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from locum.store import Record

__all__ = ["Known", "readable"]

S = TypeVar("S")
T = TypeVar("T")

_log = logger("coordination.known")


class Known(Generic[T]):
    """Reads records, and remembers what each was read as until it is another one, or gone.

    Args:
        read: Reads one; raises `CorruptRecordError` where it is something else, which hides no others.
    """

    def __init__(self, read: Callable[[Record], T]) -> None:
        self._read = read
        self._known: dict[str, tuple[Record, tuple[T, ...]]] = {}

    def of(self, records: Iterable[Record]) -> tuple[T, ...]:
        """What they are, in their order."""
        before, self._known = self._known, {}
        for record in records:
            known = before.get(record.key)
            # the whole record is compared: in a store that was exchanged, a revision says nothing of what was there
            if known is None or known[0] != record:
                known = record, tuple(readable([record], self._read))
            self._known[record.key] = known
        return tuple(one for _, ones in self._known.values() for one in ones)


def readable(found: Iterable[S], read: Callable[[S], T]) -> Iterable[T]:
    """What can be read of what was found: one that cannot be (`CorruptRecordError`) hides no others."""
    for one in found:
        try:
            yield read(one)
        except CorruptRecordError as error:
            _log.warning("passed over: %s", error)
