"""Keys in order, of which one may come or go at any time, a million of them included."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Order"]

_BLOCK: Final = 512


class Order:
    """Different texts in the order of their characters' numbers, in blocks that are cut in two when they grow.

    Args:
        keys: Which ones, in order.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._blocks: list[list[str]] = []
        self._firsts: list[str] = []
        self.extend(list(keys))

    def extend(self, keys: list[str]) -> None:
        """Put in some that come after all that are there, in order."""
        blocks = [keys[at : at + _BLOCK] for at in range(0, len(keys), _BLOCK)]
        self._blocks += blocks
        self._firsts += [block[0] for block in blocks]

    def copy(self) -> Order:
        """The same ones, to be changed elsewhere."""
        made = Order()
        made._blocks, made._firsts = [block.copy() for block in self._blocks], self._firsts.copy()
        return made

    def add(self, key: str) -> None:
        """Put in one that is not there."""
        at = self._at(key)
        if at == len(self._blocks):
            self._blocks.append([key])
            self._firsts.append(key)
            return
        block = self._blocks[at]
        insort(block, key)
        self._firsts[at] = block[0]
        if len(block) > 2 * _BLOCK:
            self._blocks.insert(at + 1, block[_BLOCK:])
            del block[_BLOCK:]
            self._firsts.insert(at + 1, self._blocks[at + 1][0])

    def remove(self, key: str) -> None:
        """Take out one that is there."""
        at = self._at(key)
        block = self._blocks[at]
        del block[bisect_left(block, key)]
        if block:
            self._firsts[at] = block[0]
        else:
            del self._blocks[at], self._firsts[at]

    def page(self, start: str, *, after: bool) -> list[str]:
        """Some of them in order, from `start` on, or after it; none only if there are none left."""
        at = self._at(start)
        for block in self._blocks[at : at + 2]:
            page = block[(bisect_right if after else bisect_left)(block, start) :]
            if page:
                return page
        return []

    def _at(self, key: str) -> int:
        return max(0, bisect_right(self._firsts, key) - 1)
