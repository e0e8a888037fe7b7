"""Writes down how runs ended, until it is answered: what ends while one end is being written is written together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from locum.errors import StoreError
from locum.jobs.job import in_words
from locum.scopes import Backoff, happens
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from locum.clock import Clock
    from locum.jobs.database import JobDatabase
    from locum.jobs.finish import Finish
    from locum.jobs.job import Job
    from locum.jobs.steps import LiveRun

__all__ = ["End", "Scribe"]

_log = logger("jobs")
_TOGETHER: Final = 200


@dataclass(frozen=True, slots=True)
class End:
    """An end that is to be written.

    Attributes:
        run: The run, as it was claimed.
        session: Under which session.
        finish: How the attempt ended.
    """

    run: LiveRun
    session: str
    finish: Finish


class Scribe:
    """Keeps the ends of an instance's runs until they are written.

    Args:
        jobs: As they are declared here.
        clock: Counts pauses.
        on_written: Called when places have become free.
    """

    def __init__(self, jobs: Mapping[str, Job], clock: Clock, on_written: Callable[[], object]) -> None:
        self._jobs, self._clock, self._on_written = jobs, clock, on_written
        self._ends: list[End] = []
        self._some, self._none = asyncio.Event(), asyncio.Event()
        self._none.set()

    @property
    def pending(self) -> set[tuple[str, int]]:
        """The runs, with their tokens, whose ends are not written yet."""
        return {(end.finish.id, end.finish.token) for end in self._ends}

    def add(self, end: End) -> None:
        """Have an end written."""
        self._ends.append(end)
        self._none.clear()
        self._some.set()

    async def done(self, *, within: float) -> bool:
        """Whether all is written in so many seconds."""
        return await happens(self._none.wait(), within=within)

    async def write(self, database: JobDatabase) -> None:
        """Write what there is, and what comes, until it is cancelled."""
        backoff = Backoff(0.05, 2.0)
        while True:
            await self._some.wait()
            if not self._ends:
                self._some.clear()
                self._none.set()
                continue
            session = self._ends[0].session
            together = [end for end in self._ends if end.session == session][:_TOGETHER]
            try:
                await self._write(database, session, together)
            except StoreError as error:
                _log.warning("the ends of %d runs are not written yet: %s", len(self._ends), error)
                await self._clock.sleep(backoff.delay())
                continue
            backoff.reset()
            written = set(map(id, together))
            self._ends = [end for end in self._ends if id(end) not in written]
            self._on_written()

    async def _write(self, database: JobDatabase, session: str, together: list[End]) -> None:
        finishes = [end.finish for end in together]
        refused = await database.transact(
            lambda db: database.ledger.finish(db, finishes, session=session, jobs=self._jobs)
        )
        for end in together:
            if end.finish.id in refused:
                _log.warning(
                    "%s under token %d for %s was %s, and is another executor's by now: not written",
                    end.run.job,
                    end.finish.token,
                    in_words(end.run.fire_at),
                    end.finish.outcome,
                )
