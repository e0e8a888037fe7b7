"""Writes down how far an instance's runs are, once a second: for people, and nothing depends on it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from locum.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from locum.clock import Clock
    from locum.jobs.database import JobDatabase
    from locum.jobs.run import Run

__all__ = ["Telling"]

_OFTEN: Final = 1.0


class Telling:
    """Writes what is new of it, of all runs together; where nothing is, it asks the database nothing.

    Args:
        clock: Counts the seconds.
        runs: Those that are executed here at this moment.
    """

    def __init__(self, clock: Clock, runs: Callable[[], Iterable[Run]]) -> None:
        self._clock, self._runs = clock, runs
        self._told: dict[tuple[str, int], str] = {}

    async def write(self, database: JobDatabase) -> None:
        """Write it until this is cancelled."""
        while True:
            await self._clock.sleep(_OFTEN)
            now = {(run.id, run.token): run.pace.progress.text for run in self._runs() if run.pace.progress is not None}
            if now == self._told:
                continue
            new = {key: text for key, text in now.items() if self._told.get(key) != text}
            try:
                await database.transact(
                    functools.partial(database.ledger.tell, said=new, over=self._told.keys() - now.keys())
                )
            except StoreError:
                continue  # it is told again, and who has the database to wait for says so
            self._told = now
