"""What was read stays as it was read, for as long as the record stays as it is; what is shown is what is there."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from locum.clock import Clock
from locum.coordination.known import Known
from locum.errors import CorruptRecordError
from locum.store import ANY, Listing, Record
from locum.stores.memory import MemoryServer, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Collection

    from locum.store import Store


class Folder:
    """A folder of one store after the other, and one who looks at it.

    Attributes:
        read: The keys of what was read, in turn.
        listed: How many records each list has brought.
    """

    def __init__(self) -> None:
        self.read: list[str] = []
        self.listed: list[int] = []
        self.known = Known(self._read)
        self.store: Store

    async def begin(self, name: str) -> None:
        """Go on with another store."""
        self.store = MemoryStore(MemoryServer(name, clock=Clock()), namespace="default", clock=Clock())
        await self.store.open()

    async def look(self, *told: str) -> list[bytes]:
        return [one[0] for one in await self.known.look(self._list, told)]

    def _read(self, record: Record) -> list[bytes]:
        self.read.append(record.key.removeprefix("p/"))
        if record.value == b"torn":
            raise CorruptRecordError(record.key, "it is torn")
        return [record.value]

    async def _list(self, after: int | None, named: Collection[str]) -> Listing:
        listing = await self.store.list("p/", after=after, named=named)
        self.listed.append(len(listing.records))
        return listing


async def test_only_what_has_changed_is_asked_for_and_read_anew() -> None:
    folder = Folder()
    await folder.begin("one")
    for key in "abc":
        await folder.store.write(f"p/{key}", key.encode(), expect=ANY)
    assert await folder.look() == [b"a", b"b", b"c"]
    await folder.store.write("p/b", b"new", expect=ANY)
    await folder.store.write("p/d", b"d", expect=ANY)
    assert await folder.look("p/b", "p/d") == [b"a", b"new", b"c", b"d"]
    await folder.store.delete("p/a", expect=ANY)
    assert await folder.look("p/a") == [b"new", b"c", b"d"]
    assert "".join(folder.read) == "abcbd"
    assert folder.listed == [3, 2, 0]


async def test_what_was_not_told_or_told_for_nothing_is_shown_all_the_same() -> None:
    folder = Folder()
    await folder.begin("one")
    for key in "abc":
        await folder.store.write(f"p/{key}", key.encode(), expect=ANY)
    await folder.look()
    await folder.store.delete("p/a", expect=ANY)
    assert await folder.look("p/b", "p/never") == [b"b", b"c"], "its wake-up was lost"
    assert folder.listed == [3, 1, 2]
    await folder.store.delete("p/b", expect=ANY)
    await folder.store.write("p/d", b"d", expect=ANY)
    assert await folder.look() == [b"c", b"d"], "as many as before, and others"


async def test_what_went_and_came_back_or_cannot_be_read_is_not_shown_as_it_was() -> None:
    folder = Folder()
    await folder.begin("one")
    await folder.store.write("p/a", b"a", expect=ANY)
    await folder.store.write("p/b", b"torn", expect=ANY)
    assert await folder.look() == [b"a"]
    await folder.store.delete("p/a", expect=ANY)
    assert await folder.look("p/a") == []
    await folder.store.write("p/a", b"a", expect=ANY)
    assert await folder.look("p/a") == [b"a"]
    assert "".join(folder.read) == "aba", "what is torn is told of once, for as long as it is the same"
    await folder.begin("another")
    await folder.store.write("p/a", b"of another store", expect=ANY)
    await folder.store.write("p/b", b"under the same revision", expect=ANY)
    assert await folder.look() == [b"of another store", b"under the same revision"]


async def test_whatever_happens_and_is_told_what_is_shown_is_what_is_there() -> None:
    for seed in range(200):
        chance, folder = random.Random(seed), Folder()
        await folder.begin(f"seed-{seed}")
        for _ in range(20):
            told = set()
            for _ in range(chance.randrange(4)):
                key = f"p/{chance.choice('abcdef')}"
                if chance.random() < 0.5:
                    await folder.store.write(key, chance.randbytes(2), expect=ANY)
                else:
                    await folder.store.delete(key, expect=ANY)
                if chance.random() < 0.6:
                    told.add(key)
            shown = await folder.look(*told)
            assert shown == [record.value for record in (await folder.store.list("p/")).records], f"seed {seed}"
