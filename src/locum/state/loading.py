"""From a checkpoint and the log after it to what a partition holds.

A checkpoint may move while it is read. So its pages are read first, and then, by position, what was changed since the
reading began, until nothing more was: that is all of it up to where the checkpoint stood then. The log does the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import merge
from itertools import groupby, islice
from typing import TYPE_CHECKING, Final

from locum.errors import LogGapError
from locum.state.checkpoints import Item
from locum.state.contents import Contents
from locum.state.pace import SLICE, Pace
from locum.state.record import KEYS, Change

if TYPE_CHECKING:
    from locum.state.contents import Collection
    from locum.state.partition import Partition
    from locum.state.record import LogRecord

__all__ = ["Loaded", "catch_up", "load", "read_on"]

_RECORDS: Final = 500


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read.

    Attributes:
        checkpoint: Where the checkpoint stood.
        changes: What the items come to, after what was known.
        records: The records after the checkpoint.
    """

    checkpoint: int
    changes: list[Change]
    records: list[LogRecord]

    @property
    def position(self) -> int:
        """Of the last record."""
        return self.records[-1].position if self.records else self.checkpoint


async def load(partition: Partition) -> tuple[Contents, Loaded]:
    """Read all that a partition holds.

    Returns:
        What it holds as of the checkpoint, and what was read after that.
    """
    while True:
        begun = await partition.head()
        contents = Contents(begun.checkpoint)
        keys: list[list[tuple[int, str]]] = []
        after = ("", "")
        while page := await partition.page(after, SLICE):
            for name, items in groupby(page, lambda item: item.change.dictionary):
                found = list(items)
                contents[name].extend([(item.change.key, item.change.value or "") for item in found])
                if name == KEYS:
                    keys.append(sorted((item.position, item.change.key) for item in found))
            last = page[-1].change
            after = (last.dictionary, last.key)
        await _put_in_turn(contents[KEYS], keys)
        try:
            return contents, await catch_up(partition, begun.checkpoint)
        except LogGapError:
            continue  # keys that are gone were forgotten meanwhile: there may be some here


async def catch_up(partition: Partition, position: int) -> Loaded:
    """Read what was changed after a position, from items and log.

    Raises:
        LogGapError: What was deleted after it is forgotten already.
    """
    changes: list[Change] = []
    known = position
    while True:
        after = Item(Change("", "", None), known + 1)
        while True:
            head = await partition.head()  # before the page: what it says to be complete is in the pages
            page = await partition.changed(after, SLICE)
            changes += [item.change for item in page]
            if len(page) < SLICE:
                break
            after = page[-1]
        if (await partition.head()).horizon > position:  # after the pages: what they may have missed
            raise LogGapError(partition.name, position, head.horizon)
        try:
            return Loaded(head.checkpoint, changes, await read_on(partition, head.checkpoint))
        except LogGapError:
            known = head.checkpoint  # checkpoint and truncation have overtaken us


async def read_on(partition: Partition, position: int) -> list[LogRecord]:
    """Read the log after a position, to its end.

    Raises:
        LogGapError: It was truncated there.
    """
    records: list[LogRecord] = []
    while True:
        page = await partition.after(position, _RECORDS)
        if page and page[0].position != position + 1:
            raise LogGapError(partition.name, position, page[0].position)
        records += page
        if len(page) < _RECORDS:
            return records
        position = page[-1].position


async def _put_in_turn(collection: Collection, runs: list[list[tuple[int, str]]]) -> None:
    """Have the idempotency keys in the order in which they came, which is that in which they are forgotten."""
    known, collection.values, pace = collection.values, {}, Pace()
    came = merge(*runs)
    while some := list(islice(came, SLICE)):
        collection.values.update((key, known[key]) for _, key in some)
        await pace.did(len(some))
