"""Runs in the job database, on a file and on a server: who may have them, and what is refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from sqlalchemy import update

from locum.errors import SchemaError, UnknownJobError
from locum.jobs.database import job_store_beside, opened
from locum.jobs.finish import Finish
from locum.jobs.job import in_words, instant
from locum.jobs.misfires import Misfire
from locum.jobs.overlap import Overlap
from locum.jobs.tables import SCHEMA, Tables
from locum.jobs.triggers import Cron, Every, Once
from tests.unit.jobs.book import SECOND, A, B, Book, job, one_claimed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from locum.jobs.steps import LiveRun


async def test_j01_of_many_who_look_at_once_one_has_each_run(url: str) -> None:
    jobs = [job(f"job-{number}", trigger=Every(0.1), misfire=Misfire(policy="all", grace=5.0)) for number in range(8)]
    jobs = [
        job(one.name, trigger=one.trigger, misfire=one.misfire, overlap=Overlap(policy="buffer_all")) for one in jobs
    ]
    async with AsyncExitStack() as stack:
        books = [Book(await stack.enter_async_context(opened(url, namespace="billing", timeout=30))) for _ in range(4)]
        claimed: list[LiveRun] = []

        async def work(book: Book, session: str) -> None:
            await book.declare(*jobs)
            while len(claimed) < 48:
                for run in await book.take(*jobs, session=session, room=5):
                    claimed.append(run)
                    assert await book.finish(run, session=session)

        async with asyncio.timeout(60):
            await asyncio.gather(*(work(book, str(number) * 32) for number, book in enumerate(books)))
        done = [row for one in jobs for row in await books[0].history(one.name) if row.outcome == "succeeded"]
    identities = Counter((run.job, run.fire_at) for run in claimed)
    assert max(identities.values()) == 1, identities.most_common(3)
    tokens = Counter((run.job, run.token) for run in claimed)
    assert max(tokens.values()) == 1, tokens.most_common(3)
    assert {(row.job, row.fire_at, row.token) for row in done} >= {
        (run.job, run.fire_at, run.token) for run in claimed[-20:]
    }


async def test_a_time_is_due_by_the_databases_clock_and_fires_once(book: Book) -> None:
    of = job()
    await book.declare(of)
    assert await book.take(of) == []
    row = await book.of()
    assert row.next_at > await book.do(book.ledger.now)
    at = await book.plan(1)
    (run,) = await book.take(of)
    assert (run.fire_at, run.token, run.attempt) == (at, 1, 1)
    assert await book.take(of, session=B) == []
    assert await book.finish(run)
    assert [(one.fire_at, one.outcome, one.token, one.instance) for one in await book.history()] == [
        (at, "succeeded", 1, "a")
    ]
    assert await book.live() == []


async def test_j04_a_finish_under_an_old_token_is_refused(book: Book) -> None:
    old = await one_claimed(book, of := job())
    assert await book.do(lambda db: book.ledger.recover(db, A)) == 1
    assert not await book.finish(old), "a finish was taken of a run that nobody has"
    (new,) = await book.take(of, session=B)
    assert (new.id, new.attempt, new.slot) == (old.id, 2, old.slot)
    assert new.token > old.token
    for outcome in ("succeeded", "dead", "cancelled", "again", "given_back"):
        assert not await book.finish(old, outcome), f"{outcome} was taken under an old token"
        assert not await book.finish(old, outcome, session=B), f"{outcome} was taken under an old token"
    assert not await book.finish(new, session=A), "a finish was taken from another session"
    assert await book.history() == []
    assert await book.finish(new, session=B)
    (record,) = await book.history()
    assert (record.outcome, record.token, record.attempt) == ("succeeded", new.token, 2)


async def test_a_finish_whose_answer_was_lost_may_be_sent_again(book: Book) -> None:
    run = await one_claimed(book, job())
    assert await book.finish(run)
    assert await book.finish(run)
    assert len(await book.history()) == 1


async def test_a_checkpoint_is_kept_under_the_runs_token_only(book: Book) -> None:
    run = await one_claimed(book, of := job())

    async def keep(one: LiveRun, session: str, value: str) -> bool:
        return bool(
            await book.do(
                lambda db: book.ledger.checkpoint(db, one.id, job="sum", token=one.token, session=session, value=value)
            )
        )

    assert await keep(run, A, "1")
    await book.do(lambda db: book.ledger.recover(db, A))
    assert not await keep(run, A, "2")
    (again,) = await book.take(of, session=B)
    assert not await keep(run, A, "2")
    assert await keep(again, B, "3")
    assert (await book.of()).checkpoint == "3"


async def test_j03_what_a_lost_session_had_is_gone_on_with_and_its_place_is_not_lost(book: Book) -> None:
    run = await one_claimed(book, of := job())
    assert await book.do(book.ledger.sessions) == [A]
    await book.do(lambda db: book.ledger.recover(db, A))
    assert await book.do(lambda db: book.ledger.recover(db, A)) == 0
    (again,) = await book.take(of, session=B)
    assert await book.finish(again, session=B)
    at = await book.plan(1)
    (following,) = await book.take(of, session=B)
    assert (following.fire_at, following.slot, following.token) == (at, 0, again.token + 1)
    assert run.id != following.id


async def test_j10_what_loses_every_executor_is_a_dead_letter_in_the_end(book: Book) -> None:
    run = await one_claimed(book, of := job())
    for _ in range(5):
        await book.do(lambda db: book.ledger.recover(db, A))
        (run,) = await book.take(of)
    await book.do(lambda db: book.ledger.recover(db, A))
    assert await book.take(of) == []
    (dead,) = await book.history()
    assert (dead.outcome, dead.error) == ("dead", "its executor was lost 6 times, the last time on a")
    await book.do(lambda db: book.ledger.redrive(db, dead.id))
    (again,) = await book.take(of, session=B)
    assert (again.id, again.losses, again.token) == (run.id, 0, run.token + 1)


async def test_runs_that_somebody_knows_of_are_not_recovered(book: Book) -> None:
    run = await one_claimed(book, job())
    assert await book.do(lambda db: book.ledger.recover(db, A, but={(run.id, run.token)})) == 0
    assert await book.do(lambda db: book.ledger.put_back(db, A, but={(run.id, run.token)})) == 0
    assert await book.finish(run)


async def test_a_claim_whose_answer_was_lost_is_no_lost_executor(book: Book) -> None:
    """However often: nothing of it has begun, so it is neither an attempt nor on the way to a dead letter."""
    run = await one_claimed(book, of := job())
    for _ in range(8):
        known = {(run.id, run.token - 1)}
        assert await book.do(partial(book.ledger.put_back, session=A, but=known)) == 1
        (again,) = await book.take(of)
        assert (again.id, again.attempt, again.losses, again.token) == (run.id, 1, 0, run.token + 1)
        run = again
    assert await book.finish(run)


async def test_a_pause_between_attempts_is_kept_in_the_database(book: Book) -> None:
    run = await one_claimed(book, of := job())
    assert await book.finish(run, "again", error="ValueError: no", pause=3600.0)
    assert await book.take(of, session=B) == []
    (waiting,) = await book.live()
    assert (waiting.attempt, waiting.failures, waiting.error) == (2, 1, "ValueError: no")
    assert waiting.not_before > await book.do(book.ledger.now) + 3500 * SECOND
    taken = await book.do(lambda db: book.ledger.take(db, {"sum": of}, session=B, instance="b", room=1))
    assert taken.next_at == min(waiting.not_before, (await book.of()).next_at)


async def test_what_is_given_back_is_taken_at_once_and_has_not_failed(book: Book) -> None:
    run = await one_claimed(book, of := job())
    assert await book.finish(run, "given_back")
    (again,) = await book.take(of, session=B)
    assert (again.attempt, again.failures) == (2, 0)


async def test_a_token_that_a_fence_has_seen_is_passed_over(book: Book) -> None:
    run = await one_claimed(book, of := job())
    assert await book.finish(run, "given_back", floor=41)
    (again,) = await book.take(of, session=B)
    assert again.token == 42


async def test_a_cancelled_run_ends_at_once_or_by_its_executor(book: Book) -> None:
    run = await one_claimed(book, of := job())
    await book.do(lambda db: book.ledger.cancel(db, run.id))
    taken = await book.do(lambda db: book.ledger.take(db, {"sum": of}, session=A, instance="a", room=1))
    assert taken.cancelling == {(run.id, run.token)}
    assert await book.finish(run, "given_back")  # it has ended, for whatever reason
    assert [one.outcome for one in await book.history()] == ["cancelled"]
    other = await book.do(lambda db: book.ledger.run_now(db, "sum", nonce=None, params="{}"))
    await book.do(lambda db: book.ledger.cancel(db, other))
    assert [one.outcome for one in await book.history()] == ["cancelled", "cancelled"]
    with pytest.raises(UnknownJobError):
        await book.do(lambda db: book.ledger.cancel(db, other))


async def test_run_now_with_one_nonce_is_one_run_live_or_over(book: Book) -> None:
    of = job()
    await book.declare(of)

    async def ask(nonce: str | None) -> str:
        return str(await book.do(lambda db: book.ledger.run_now(db, "sum", nonce=nonce, params='{"x": 1}')))

    first = await ask("ticket-1")
    assert await ask("ticket-1") == first
    (run,) = await book.take(of)
    assert (run.id, run.params) == (first, '{"x": 1}')
    assert await book.finish(run)
    assert await ask("ticket-1") == first
    assert await book.take(of) == []
    assert await ask(None) != await ask(None)
    with pytest.raises(UnknownJobError, match="knows no job 'other'"):
        await book.do(lambda db: book.ledger.run_now(db, "other", nonce=None, params="{}"))


async def test_a_backfill_is_made_once_and_beside_what_was_scheduled(book: Book) -> None:
    run = await one_claimed(book, of := job())
    times = [(run.fire_at, "{}"), (run.fire_at - 3600 * SECOND, "{}")]
    assert await book.do(lambda db: book.ledger.backfill(db, "sum", times)) == 2
    assert await book.do(lambda db: book.ledger.backfill(db, "sum", times)) == 0
    assert await book.take(of) == []  # the place is taken
    assert await book.finish(run)
    (first,) = await book.take(of)
    assert await book.finish(first)
    (second,) = await book.take(of)
    assert (first.fire_at, second.fire_at) == (times[1][0], times[0][0])
    assert await book.finish(second)
    assert await book.do(lambda db: book.ledger.backfill(db, "sum", times)) == 0


async def test_what_passes_in_a_pause_is_not_made_up_for(book: Book) -> None:
    of = job(misfire=Misfire(policy="all", window=1e6))
    await book.declare(of)
    await book.take(of)
    await book.do(lambda db: book.ledger.pause(db, "sum", reason="a migration", author="ada"))
    await book.plan(10)
    assert await book.take(of) == []
    assert ((row := await book.of()).pause_reason, row.pause_author) == ("a migration", "ada")
    await book.do(lambda db: book.ledger.resume(db, "sum"))
    assert await book.take(of) == []
    assert (await book.of()).next_at > await book.do(book.ledger.now)
    assert await book.history() == []


async def test_a_changed_trigger_is_worked_out_from_now_on_and_fires_nothing_again(book: Book) -> None:
    run = await one_claimed(book, job())
    assert await book.finish(run)
    changed = job(trigger=Every(1800))
    await book.declare(changed)
    assert await book.take(job()) == []  # an instance of the older release leaves it alone
    assert await book.take(changed) == []
    row = await book.of()
    assert row.trigger_text == changed.trigger_text
    assert row.next_at > await book.do(book.ledger.now)


@pytest.mark.parametrize("off", [-3600, 3600])
async def test_what_was_planned_by_older_rules_of_a_zone_is_planned_anew(book: Book, off: int) -> None:
    """As by the tzdata of before; what is due by now stays as it was planned, and so does what is told in UTC."""
    now = instant(await book.do(book.ledger.now))
    far = f"{now.minute} {(now.hour + 12) % 24} * * *"
    of, plain = job(trigger=Cron(far, tz="Europe/Paris")), job("plain", trigger=Cron(far))
    await book.declare(of, plain)
    planned, other = (await book.of()).next_at, (await book.of("plain")).next_at
    for name, at in (("sum", planned), ("plain", other)):
        await book.plan_at(at + off * SECOND, name, decided=False)
    await book.declare(of, plain)
    assert await book.take(of, plain) == []
    assert (await book.of()).next_at == planned
    assert (await book.of("plain")).next_at == other + off * SECOND
    at = await book.plan(1)
    await book.declare(of)
    assert (await book.of()).next_at == at
    assert [run.fire_at for run in await book.take(of)] == [at]


async def test_once_is_once(book: Book) -> None:
    at = await book.do(book.ledger.now) + SECOND // 2
    of = job(trigger=Once(instant(at)))
    await book.declare(of)
    await book.take(of)
    taken: list[LiveRun] = []
    async with asyncio.timeout(30):
        while not taken:
            taken = await book.take(of)
            await asyncio.sleep(0.02)
    assert taken[0].fire_at == at
    assert (await book.of()).next_at is None
    assert await book.finish(taken[0])
    await book.declare(of)
    assert await book.take(of) == []


async def test_what_was_missed_is_recorded(book: Book) -> None:
    of = job(trigger=Every(60), misfire=Misfire(policy="none"))
    await book.declare(of)
    await book.take(of)
    at = await book.plan(3 * 3600)
    runs = await book.take(of)
    assert len(runs) <= 1  # the one that is on time
    (left_out,) = [one for one in await book.history() if one.outcome == "skipped"]
    assert left_out.fire_at == at
    assert left_out.error.startswith("missed, by misfire=none: ")


class _DiedError(Exception):
    """The process has died at this very moment."""


async def test_j02_a_crash_after_any_statement_leaves_a_run_neither_lost_nor_doubled(book: Book) -> None:
    of = job(trigger=Every(1), overlap=Overlap(policy="buffer_all"), misfire=Misfire(policy="all", grace=100.0))
    await book.declare(of)
    await book.take(of)

    def crashing(work: Callable[[Connection], Any], after: int) -> Callable[[Connection], Any]:
        """The same work, which dies after so many statements."""

        def until_then(db: Connection) -> Any:
            said = 0

            def count(*_: Any) -> None:
                nonlocal said
                said += 1
                if said > after:
                    raise _DiedError

            sqlalchemy.event.listen(db, "before_cursor_execute", count)
            try:
                return work(db)
            finally:
                sqlalchemy.event.remove(db, "before_cursor_execute", count)

        return until_then

    async def survives(work: Callable[[Connection], Any]) -> Any:
        """Try it with a crash after 0, 1, 2 ... statements, until it goes through."""
        for after in range(30):
            try:
                return await book.do(crashing(work, after))
            except _DiedError:
                continue
        raise AssertionError("it never went through")

    planned = await book.plan(2)
    known = {"sum": of}
    fired: list[int] = []
    for number in range(3):
        taken = await survives(lambda db: book.ledger.take(db, known, session=A, instance="a", room=1))
        assert len(taken.runs) == 1, f"the run of time {number} was lost"
        ((run, _),) = taken.runs
        fired.append(run.fire_at)
        ends = [Finish(run.id, run.token, "succeeded")]

        def finish(db: Connection, ends: list[Finish] = ends) -> Any:
            return book.ledger.finish(db, ends, session=A)

        assert await survives(finish) == frozenset()
    assert fired == [planned, planned + SECOND, planned + 2 * SECOND]
    assert [row.fire_at for row in await book.history()][::-1] == fired


async def test_j02_a_commit_whose_answer_was_lost_doubles_no_body(book: Book) -> None:
    """Of a claim nobody knows: it is put back, or recovered. Of an end: it is sent again, and was there."""
    of = job(trigger=Every(1), overlap=Overlap(policy="buffer_all"), misfire=Misfire(policy="all", grace=100.0))
    await book.declare(of)
    await book.take(of)
    planned = await book.plan(1)
    bodies: Counter[int] = Counter()
    (lost,) = await book.take(of, room=1)
    await book.do(lambda db: book.ledger.put_back(db, A, but=()))
    (lost_too,) = await book.take(of, room=1)
    await book.do(lambda db: book.ledger.recover(db, A))
    (run,) = await book.take(of, session=B, room=1)
    bodies[run.fire_at] += 1
    assert await book.finish(run, session=B)
    assert await book.finish(run, session=B)
    assert lost.id == lost_too.id == run.id
    assert lost.token < lost_too.token < run.token
    assert (lost_too.attempt, run.attempt) == (1, 2), "what its executor had may have begun, and is told as if not"
    assert [(row.fire_at, row.token) for row in await book.history()] == [(planned, run.token)]
    assert bodies == {planned: 1}


@pytest.mark.parametrize(
    ("misfire", "fired", "dropped"),
    [
        (Misfire(policy="latest"), [0], (180, 1)),
        (Misfire(policy="none"), [], (180, 0)),
        (Misfire(policy="earliest"), [180], (179, 0)),
        (Misfire(policy="all", most=5), [4, 3, 2, 1, 0], (180, 5)),
        (Misfire(policy="all", most=100, window=600), list(range(9, -1, -1)), (180, 10)),
    ],
    ids=["latest", "none", "earliest", "all-most", "all-window"],
)
async def test_j05_down_for_three_hours(
    book: Book, misfire: Misfire, fired: list[int], dropped: tuple[int, int]
) -> None:
    """By each policy: which minutes run, counted back from the last one, and what the record of the others says."""
    last = await book.do(book.ledger.now) - 45 * SECOND  # more than the grace of half a period
    of = job(trigger=Every(60, since=instant(last)), misfire=misfire, overlap=Overlap(policy="buffer_all", most=1000))
    await book.declare(of)
    await book.take(of)

    def minutes(*ago: int) -> list[int]:
        return [last - one * 60 * SECOND for one in ago]

    await book.plan_at(minutes(180)[0])
    looked = await book.look(of)
    begun = [run.fire_at for run, _ in looked.runs]
    waiting = [row.fire_at for row in await book.live() if row.state == "ready"]
    assert sorted(begun + waiting) == minutes(*fired)
    recorded = await book.history()
    assert len(recorded) == 1, "what does not fire is not told"
    (left_out,) = recorded
    first, end = minutes(*dropped)
    assert left_out.fire_at == first
    assert left_out.error == f"missed, by misfire={misfire.policy}: {in_words(first)} to {in_words(end)}"
    assert looked.next_at == last + 60 * SECOND
    assert await book.take(of, session=B) == [], "a second look has decided the same once more"


async def test_a_database_of_a_newer_release_is_refused(book: Book, url: str) -> None:
    def newer(db: Connection) -> None:
        meta = book.ledger._tables.meta
        db.execute(update(meta).values(schema=SCHEMA + 1, least_reader=SCHEMA + 1))

    await book.do(newer)
    with pytest.raises(SchemaError):
        async with opened(url, namespace="billing"):
            pass


def test_the_job_store_stands_beside_the_store() -> None:
    assert job_store_beside("sqlite:////srv/billing.db") == "sqlite:////srv/billing-jobs.db"
    assert job_store_beside("sqlite:////srv/a.b/billing") == "sqlite:////srv/a.b/billing-jobs"
    assert job_store_beside("postgresql://db/billing") == "postgresql://db/billing"


def test_mysql_has_words_for_the_tables_too() -> None:
    from sqlalchemy.dialects import mysql
    from sqlalchemy.schema import CreateTable

    for table in Tables(None).metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=mysql.dialect()))
