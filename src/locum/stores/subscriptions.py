"""Who waits for which keys on one connection, and who of them is woken by a change."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from locum.scopes import happens
from locum.store import Change

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Sequence

__all__ = ["Subscriptions"]


class _Subscriber:
    """The wake-ups of one reader: an iterator that survives a cancelled wait, which a generator would not."""

    def __init__(self, prefixes: Sequence[str], poll_interval: float) -> None:
        self.prefixes = tuple(prefixes)
        self._poll_interval = poll_interval
        self._keys: set[str] = set()
        self._woken = asyncio.Event()

    def wake(self, keys: set[str]) -> None:
        self._keys |= keys
        self._woken.set()

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        await happens(self._woken.wait(), within=self._poll_interval)
        self._woken.clear()
        keys, self._keys = self._keys, set()
        return Change(frozenset(keys))


class Subscriptions:
    """The readers of one connection.

    Args:
        poll_interval: Seconds after which a reader is woken without a change.
    """

    def __init__(self, poll_interval: float) -> None:
        self._poll_interval = poll_interval
        self._subscribers: dict[_Subscriber, None] = {}  # woken in the order of coming

    def __bool__(self) -> bool:
        return bool(self._subscribers)

    @contextmanager
    def subscribe(self, prefixes: Sequence[str]) -> Iterator[AsyncIterator[Change]]:
        """Wake-ups for some prefixes, from here on."""
        subscriber = _Subscriber(prefixes, self._poll_interval)
        self._subscribers[subscriber] = None
        try:
            yield subscriber
        finally:
            del self._subscribers[subscriber]

    def tell(self, keys: Collection[str]) -> None:
        """Wake those who wait for one of these keys."""
        for subscriber in list(self._subscribers):
            if mine := {key for key in keys if key.startswith(subscriber.prefixes)}:
                subscriber.wake(mine)

    def tell_all(self) -> None:
        """Wake everyone: their own reads will say what there is."""
        for subscriber in list(self._subscribers):
            subscriber.wake(set())
