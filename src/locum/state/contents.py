"""What a partition holds, in memory: committed values as JSON, their keys in order, and pictures of a moment.

Values stay as they were written, as text, so that nobody who reads one can change what others read.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING
from weakref import WeakSet

from locum.state.order import Order
from locum.state.pace import SLICE, Pace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from locum.state.record import Change

__all__ = ["Collection", "Contents", "Snapshot"]


class Snapshot:
    """What a collection held at one moment, whatever has been committed since."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._before: dict[str, str | None] = {}  # of what was changed since, what it was
        self._length = len(collection.values)

    def __len__(self) -> int:
        return self._length

    def get(self, key: str) -> str | None:
        """A value; `None` if there is none."""
        return self._before[key] if key in self._before else self._collection.values.get(key)

    def items(self, *, start: str = "", prefix: str = "") -> Iterator[tuple[str, str]]:
        """Keys and values in order.

        Args:
            start: The least key.
            prefix: How each key begins.
        """
        start, after = max(start, prefix), False
        while True:
            here = self._collection.order.page(start, after=after)
            last = here[-1] if here else None
            for key in self._with_those_gone(here, start, last, after=after):
                if not key.startswith(prefix):
                    return
                value = self.get(key)
                if value is not None:
                    yield key, value
            if last is None:
                return
            start, after = last, True

    def keep(self, key: str, value: str | None) -> None:
        """Remember what a key was, before it is changed."""
        self._before.setdefault(key, value)

    def _with_those_gone(self, here: list[str], start: str, last: str | None, *, after: bool) -> list[str]:
        """Keys of a page, and those between them that are not there any more."""
        gone = [
            key
            for key, value in self._before.items()
            if value is not None
            and key not in self._collection.values
            and (key > start if after else key >= start)
            and (last is None or key <= last)
        ]
        return sorted([*here, *gone]) if gone else here


class Collection:
    """What one dictionary holds.

    Attributes:
        values: As JSON, by their keys.
        order: The keys in order.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.order = Order()
        self._snapshots: WeakSet[Snapshot] = WeakSet()

    def extend(self, found: Sequence[tuple[str, str]]) -> None:
        """Put in keys that come after all that it has, in order."""
        self.values.update(found)
        self.order.extend([key for key, _ in found])

    async def copy(self, pace: Pace) -> Collection:
        """The same, to be changed elsewhere; nobody changes this one meanwhile."""
        made = Collection()
        values = iter(self.values.items())
        while some := list(islice(values, SLICE)):
            made.values.update(some)
            await pace.did(len(some))
        made.order = self.order.copy()
        return made

    def snapshot(self) -> Snapshot:
        """What it holds at this moment, for as long as somebody has it."""
        snapshot = Snapshot(self)
        self._snapshots.add(snapshot)
        return snapshot

    def apply(self, key: str, value: str | None) -> None:
        """Change a key."""
        before = self.values.get(key)
        if len(self._snapshots):  # an iteration of none costs as much as all the rest
            for snapshot in self._snapshots:
                snapshot.keep(key, before)
        if value is not None:
            self.values[key] = value
            if before is None:
                self.order.add(key)
        elif before is not None:
            del self.values[key]
            self.order.remove(key)


class Contents:
    """What a partition holds at a position of its log.

    Attributes:
        position: Of the last record that is in it.
    """

    def __init__(self, position: int = 0) -> None:
        self.position = position
        self._collections: dict[str, Collection] = {}

    async def copy(self, pace: Pace) -> Contents:
        """The same, to be changed elsewhere; nobody changes this one meanwhile."""
        made = Contents(self.position)
        for name, collection in self._collections.items():
            made._collections[name] = await collection.copy(pace)
        return made

    def __getitem__(self, dictionary: str) -> Collection:
        found = self._collections.get(dictionary)
        if found is None:
            found = self._collections[dictionary] = Collection()
        return found

    def apply(self, changes: Iterable[Change], position: int) -> None:
        """Take in what was committed up to a position, all of it at once."""
        for change in changes:
            self[change.dictionary].apply(change.key, change.value)
        self.position = position

    def __len__(self) -> int:
        return sum(len(one.values) for one in self._collections.values())
