"""What can be asked of a host's jobs from anywhere: runs, a pause, and what there is to see."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime  # in annotations that are read when the program runs
from typing import TYPE_CHECKING, Any, Final

from locum.clock import Clock
from locum.errors import ScheduleError, UnknownJobError
from locum.identity import host_name
from locum.jobs.database import opened
from locum.jobs.job import instant, micros
from locum.jobs.progress import Progress
from locum.jobs.steps import CUT
from locum.jobs.triggers import between

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from sqlalchemy import Row

    from locum.jobs.database import JobDatabase
    from locum.jobs.job import Job, Roster

__all__ = ["JobState", "Jobs", "Past", "Waiting", "read_live"]

_MOST_BACKFILLED: Final = 10_000
_OFTEN: Final = 0.5


@dataclass(frozen=True, slots=True)
class JobState:
    """A job as the job database knows it.

    Attributes:
        name: Its name.
        trigger: When it fires, in words; empty if only when somebody asks.
        next_at: When it is planned next; `None` if it is not, is paused, or is not yet.
        paused: Why it is paused and by whom; `None` if it is not.
        token: The token of its last execution.
        declared_by: The instances that declare it; none, if it is orphaned: nothing of it fires or runs until one does
            again, or somebody removes it.
    """

    name: str
    trigger: str
    next_at: datetime | None
    paused: str | None
    token: int
    declared_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that is not over.

    Attributes:
        id: The run.
        job: Of which job.
        fire_at: The time for which it runs.
        state: `ready`, `running`, or `cut` while its slices are executed.
        attempt: The number of its execution, or of the next.
        instance: Where it runs, or ran last.
        not_before: When it may begin.
        error: What its last attempt failed with.
        part: Which slice it is; `None` for a whole run.
        progress: How far it is: by its slices, or as its body says (`run.progress`); `None` if nobody says it.
    """

    id: str
    job: str
    fire_at: datetime
    state: str
    attempt: int
    instance: str
    not_before: datetime
    error: str
    part: int | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """A run that is over, or a time that was left out.

    Attributes:
        id: The run.
        job: Of which job.
        fire_at: The time for which it ran.
        outcome: `succeeded`, `dead`, `cancelled` or `skipped`.
        attempt: The number of its last execution.
        token: Of its last execution; 0 if there was none.
        instance: Where it ran last.
        finished_at: When that was written.
        error: What it failed with, or why it was left out.
        part: Which slice it was; `None` for a whole run.
    """

    id: str
    job: str
    fire_at: datetime
    outcome: str
    attempt: int
    token: int
    instance: str
    finished_at: datetime
    error: str
    part: int | None = None


class Jobs:
    """The jobs of one host: `host.jobs`. Each call opens the job database, and leaves it.

    Args:
        roster: The jobs that are declared here; what is declared elsewhere only can be asked for by name all the same.
        url: Finds the job database's URL.
        namespace: The host's name.
    """

    def __init__(self, roster: Roster, url: Callable[[], str], *, namespace: str) -> None:
        self._roster, self._url, self._namespace = roster, url, namespace

    async def run_now(self, name: str, *, params: Mapping[str, Any] | None = None, nonce: str | None = None) -> str:
        """Have a job run as soon as there is a place for it; its schedule stays as it is.

        Args:
            name: The job.
            params: In place of the declared ones.
            nonce: Whoever asks again with the same one is given the same run, also after a lost answer.

        Returns:
            The run's id.

        Raises:
            UnknownJobError: No instance has declared it.
            ScheduleError: The parameters are not what it takes.
        """
        job = self._roster.jobs.get(name)
        text = None if params is None else _as_json(name, params)
        async with self._opened() as database:
            ledger = database.ledger
            at = await database.transact(ledger.now)
            if job is not None:
                text = _taken(job, job.params_at(at) if text is None else text)
            given, limit = text or "{}", {} if job is None else job.limit_of(text or "{}", at)
            return await database.transact(lambda db: ledger.run_now(db, name, nonce=nonce, params=given, limit=limit))

    async def backfill(self, name: str, begin: datetime, end: datetime) -> int:
        """Make runs for the times of a job from one instant on and before another, as far as they have passed.

        A time that was backfilled before is not again; one that ran as scheduled is. One that has not come is left to
        the schedule.

        Returns:
            How many runs are new.

        Raises:
            UnknownJobError: It is not declared here, so that its times are not known, or by no instance yet.
            ScheduleError: It has none, or more than 10,000 in that range; an end of that has no zone; or its parameters
                are not what it takes.
        """
        job = self._declared(name)
        if job.trigger is None:
            raise ScheduleError(f"{name} has no schedule, and so no times to backfill: have it run now")
        if begin.tzinfo is None or end.tzinfo is None:
            raise ScheduleError(f"{begin} to {end} is no range of instants: give both a zone, such as tzinfo=UTC")
        times: list[tuple[int, str, Mapping[str, Any]]] = []
        async with self._opened() as database:
            now = instant(await database.transact(database.ledger.now))
            for at in between(job.trigger, begin, min(end, now)):
                if len(times) == _MOST_BACKFILLED:
                    raise ScheduleError(
                        f"{name} has more than {_MOST_BACKFILLED:,} times there: backfill a shorter range"
                    )
                params = _taken(job, job.params_at(micros(at)))
                times.append((micros(at), params, job.limit_of(params, micros(at))))
            return await database.transact(lambda db: database.ledger.backfill(db, name, times))

    async def pause(self, name: str, *, reason: str, author: str | None = None) -> None:
        """Let a job's times pass until it is resumed; what runs, runs on, and `run_now` still runs it.

        Args:
            name: The job.
            reason: Why, for whoever wonders later.
            author: Who; this machine's name if nobody is named.
        """
        async with self._opened() as database:
            await database.transact(
                lambda db: database.ledger.pause(db, name, reason=reason, author=author or host_name())
            )

    async def resume(self, name: str) -> None:
        """Go on with a job from now; the times that have passed meanwhile are not made up for (see `backfill`)."""
        async with self._opened() as database:
            await database.transact(lambda db: database.ledger.resume(db, name))

    async def cancel(self, run: str) -> None:
        """Have a run end, by its id."""
        async with self._opened() as database:
            await database.transact(lambda db: database.ledger.cancel(db, run))

    async def redrive(self, run: str) -> None:
        """Have a dead letter tried again, by its run's id."""
        async with self._opened() as database:
            await database.transact(lambda db: database.ledger.redrive(db, run))

    async def discard(self, run: str) -> None:
        """Let go of a dead letter, by its run's id: it counts as cancelled from now on."""
        async with self._opened() as database:
            await database.transact(lambda db: database.ledger.discard(db, run))

    async def remove(self, name: str) -> None:
        """Let go of a job that no instance declares any more, with what waits of it; its history stays.

        Raises:
            UnknownJobError: There is no such job.
            ConfigurationError: An instance declares it, or a run of it goes on.
        """
        async with self._opened() as database:
            await database.transact(lambda db: database.ledger.remove(db, name))

    async def all(self) -> list[JobState]:
        """All jobs that any instance has declared, by name."""
        async with self._opened() as database:
            rows, declared = await database.transact(
                lambda db: (database.ledger.jobs(db), database.ledger.declared_by(db))
            )
        return [
            JobState(
                row.name,
                row.trigger_text,
                instant(row.next_at) if row.next_at and not row.paused else None,
                f"{row.pause_reason} ({row.pause_author})" if row.paused else None,
                row.token,
                tuple(sorted(declared.get(row.name, ()))),
            )
            for row in rows
        ]

    async def live(self, name: str | None = None, *, slices: bool = False) -> list[Waiting]:
        """The runs that are not over, the oldest first; with their slices, if these are wanted, too."""
        async with self._opened() as database:
            return await read_live(database, name, slices=slices)

    async def follow(self, run: str) -> AsyncIterator[Waiting | Past]:
        """Look at a run twice a second until it is over.

        Yields:
            It as it waits or runs, and at last, once, how it has ended.

        Raises:
            UnknownJobError: There is no such run.
        """
        async with self._opened() as database:
            while found := await read_live(database, run=run):
                yield found[0]
                await Clock().sleep(_OFTEN)
            rows = await database.transact(lambda db: database.ledger.history(db, run=run, slices=True))
            if not rows:
                raise UnknownJobError(f"run {run}", self._namespace)
            yield _past(rows[0])

    async def history(
        self, name: str | None = None, *, outcome: str | None = None, limit: int = 50, slices: bool = False
    ) -> list[Past]:
        """What is over, the newest first: of one job or all, with one outcome or any; with slices, if wanted, too."""
        async with self._opened() as database:
            rows = await database.transact(
                lambda db: database.ledger.history(db, name, outcome=outcome, limit=limit, slices=slices)
            )
        return [_past(row) for row in rows]

    async def dead(self, name: str | None = None) -> list[Past]:
        """The dead letters, the newest first."""
        return await self.history(name, outcome="dead", limit=1000, slices=True)

    def next(self, name: str, *, after: datetime, many: int = 5) -> list[datetime]:
        """The next times of a job that is declared here, without a look at any database."""
        found: list[datetime] = []
        trigger, at = self._declared(name).trigger, after
        while trigger is not None and len(found) < many:
            following = trigger.next_after(at)
            if following is None:
                break
            found.append(following)
            at = following
        return found

    # -- inside

    def _declared(self, name: str) -> Job:
        if name not in self._roster.jobs:
            raise UnknownJobError(f"job {name!r}", self._namespace)
        return self._roster.jobs[name]

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[JobDatabase]:
        async with opened(self._url(), namespace=self._namespace) as database:
            yield database


async def read_live(
    database: JobDatabase, name: str | None = None, *, run: str | None = None, slices: bool = False
) -> list[Waiting]:
    """The runs that are not over, of one job or of all, the oldest first; with their slices, if these are wanted."""
    rows, over, said, now = await database.transact(
        lambda db: database.ledger.under_way(db, name, run=run, slices=slices or run is not None)
    )
    return [
        Waiting(
            row.id,
            row.job,
            instant(row.fire_at),
            row.state,
            row.attempt,
            row.instance,
            instant(row.not_before),
            row.error,
            row.part,
            _cut(row, over.get(row.id, (0, 0)), now)
            if row.state == CUT
            else Progress.read(said.get((row.id, row.token))),
        )
        for row in rows
    ]


def _past(row: Row[Any]) -> Past:
    return Past(
        row.id,
        row.job,
        instant(row.fire_at),
        row.outcome,
        row.attempt,
        row.token,
        row.instance,
        instant(row.finished_at),
        row.error,
        row.part,
    )


def _cut(row: Row[Any], over: tuple[int, int], now: int) -> Progress:
    """How far the slices of a run are; those that were over before a redrive took no time."""
    done, before = over
    return Progress.after((now - row.not_before) / 1e6, done=done, of=row.parts, begun_with=before)


def _taken(job: Job, params: str) -> str:
    """The parameters of a run that is asked for; those of slices are their planner's."""
    return params if callable(job.slices) else job.checked(params)


def _as_json(name: str, params: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(params), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ScheduleError(f"the params of {name} cannot be told as JSON: {error}") from error
