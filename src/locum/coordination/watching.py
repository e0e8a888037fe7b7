"""Watching something in the store: its state at once, and again after each change; the last state always comes.

A wake-up says that it is worth looking, and may be lost; so whoever watches looks again after a while, too. A store
that is another one now is listened to anew once that was accepted.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar

from locum.errors import StoreError, StoreReplacedError
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from locum.store import Change, Store

__all__ = ["accepting", "hear", "states"]

S = TypeVar("S")

_log = logger("coordination.watching")

_AFTER_AN_ERROR: Final = 1.0


async def states(store: Store, prefix: str, look: Callable[[frozenset[str]], Awaitable[S]]) -> AsyncGenerator[S, None]:
    """The states of what lies below a prefix; those between two looks are passed over.

    While the store does not answer nothing comes; then what is there.

    Args:
        store: Where it is.
        prefix: Of the keys that it consists of.
        look: Reads it, and accepts another store (`accepting`); told the keys that changed, as far as is known.
    """
    shown: list[S] = []
    told: frozenset[str] = frozenset()
    while True:
        async with store.changes([prefix]) as changes:  # stands before the look, so that none is missed
            while True:
                replaced, patience = False, store.guarantees().poll_interval
                try:
                    now = await look(told)
                except StoreError as error:
                    _log.debug("%s cannot be watched: %s", prefix, error)
                    replaced, patience = isinstance(error, StoreReplacedError), min(patience, _AFTER_AN_ERROR)
                else:
                    if shown != [now]:
                        shown = [now]
                        yield now
                # whatever becomes of the wake-up, it is looked at again after a while
                told = await hear(changes, within=patience) or frozenset()
                if replaced:
                    break  # who accepts another store may have connected anew: listen anew


async def hear(changes: AsyncIterator[Change], *, within: float | None) -> frozenset[str] | None:
    """The keys of the next wake-up, as far as it tells them; `None` if there is none within so many seconds."""
    try:
        async with asyncio.timeout(within):
            return (await anext(changes)).keys
    except TimeoutError:
        return None


async def accepting(call: Callable[[], Awaitable[S]], accept: Callable[[], Awaitable[object]]) -> S:
    """Make a call; where the store is another one, once more after that was accepted."""
    try:
        return await call()
    except StoreReplacedError:
        await accept()
        return await call()
