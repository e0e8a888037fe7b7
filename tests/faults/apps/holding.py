"""A process that is not Locum's holds a lock (`cancel`), and writes under its token until it is told otherwise.

Arguments: the store's URL; the file in which it says what it comes to; the user's database. Each line of the file is a
word and what it is about. Nothing is awaited between `check()` and the row that is written after it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from locum import Coordinator
from locum.errors import StaleTermError, TermEndedError
from locum.scopes import run

if TYPE_CHECKING:
    from locum.coordination.lock import Held

URL, TOLD = sys.argv[1], Path(sys.argv[2])
books = sqlite3.connect(sys.argv[3], timeout=20, isolation_level=None)


def say(word: str, about: object) -> None:
    with TOLD.open("a") as file:
        file.write(f"{word} {about}\n")


async def work(held: Held) -> None:
    """Write, without looking at anything but `check()`."""
    async with held.transaction(books):
        say("holds", held.token)
    while True:
        held.check()
        say("works", held.token)
        await asyncio.sleep(0.01)


async def try_late(held: Held) -> None:
    """What may still be tried when the hold is over."""
    for late in ("check", "fence", "value"):
        try:
            match late:
                case "check":
                    held.check()
                case "fence":
                    await held.fence(books)
                case "value":
                    await held.set(b"late")
        except (TermEndedError, StaleTermError) as error:
            say("refused", f"{late}: {error}")
        else:
            say("accepted", late)


async def main() -> None:
    had: list[Held] = []
    async with Coordinator.connect(URL, namespace="billing", ttl=1.5, instance="holder") as coordinator:
        try:
            async with coordinator.lock("a", on_lost=lambda why: say("told", why)) as held:
                had.append(held)
                try:
                    try:
                        await work(held)
                    except TermEndedError:
                        await asyncio.sleep(30)  # it does not end by itself
                except asyncio.CancelledError:
                    say("cancelled", held.ended)
                    raise
        except TermEndedError as error:
            await try_late(had[0])
            say("over", error)


run(main())
