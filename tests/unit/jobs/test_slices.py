"""Runs that are cut into slices: each slice once by its token, and the whole once, whoever ends the last of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from locum import Host, Run
from locum.databases.postgresql import PostgresDatabase
from locum.errors import ConfigurationError, ScheduleError, UnknownJobError
from locum.jobs.declaring import job_of
from locum.jobs.finish import Finish
from locum.jobs.progress import Progress
from locum.jobs.steps import CUT
from tests.unit.jobs.book import A, B, Book, job, one_claimed
from tests.unit.jobs.test_running import host, over

if TYPE_CHECKING:
    from locum.jobs.job import Job
    from locum.jobs.steps import LiveRun

__all__ = ["host"]  # a fixture


async def cut(book: Book, of: Job, many: int, *, completes: bool = False) -> LiveRun:
    """A run that is cut into so many slices."""
    run = await one_claimed(book, of)
    assert await book.finish(run, "cut", parts=tuple(f'{{"at": {part}}}' for part in range(many)), completes=completes)
    return run


async def test_j09_slices_are_pulled_and_the_run_is_over_with_the_last_of_them(book: Book) -> None:
    run = await cut(book, of := job(), 5)
    mine = await book.take(of, room=2)
    others = await book.take(of, session=B, room=10)
    assert [one.part for one in mine + others] == [0, 1, 2, 3, 4]
    assert len({one.token for one in [run, *mine, *others]}) == 6
    assert {(one.parent, one.parts, one.slot) for one in mine + others} == {(run.id, 5, run.slot)}
    assert others[0].params == '{"at": 2}'
    for one in mine:
        assert await book.finish(one, result="7")
    for one in others[:-1]:
        assert await book.finish(one, session=B, result="7")
    assert [row.state for row in await book.live() if row.id == run.id] == [CUT]
    assert await book.history() == []
    assert await book.finish(others[-1], session=B, result="8")
    assert await book.live() == []
    (record,) = await book.history()
    assert (record.id, record.outcome, record.parts) == (run.id, "succeeded", 5)
    assert await book.do(lambda db: book.ledger.results(db, run.id)) == ["7", "7", "7", "7", "8"]


async def test_j09_a_run_that_is_cut_has_its_place_until_its_slices_are_over(book: Book) -> None:
    await cut(book, of := job(), 2)
    await book.plan(1)
    first, second = await book.take(of, room=10)
    assert {first.part, second.part} == {0, 1}, "another run has begun in its place"
    assert [row.outcome for row in await book.history()] == ["skipped"]
    assert await book.finish(first)
    assert await book.finish(second)
    await book.plan(1)
    (following,) = await book.take(of)
    assert following.parent is None


async def test_j09_completion_comes_once_and_in_the_place_of_the_run(book: Book) -> None:
    run = await cut(book, of := job(), 2, completes=True)
    for one in await book.take(of, room=10):
        assert await book.finish(one)
    (completing,) = await book.take(of, session=B)
    assert (completing.id, completing.parts, completing.slot) == (run.id, 2, run.slot)
    assert completing.token == run.token + 3
    assert await book.take(of) == []
    assert await book.finish(completing, session=B)
    assert [row.outcome for row in await book.history()] == ["succeeded"]


async def test_j09_a_slice_of_a_lost_session_is_another_attempt_in_the_same_place(book: Book) -> None:
    run = await cut(book, of := job(), 1)
    (lost,) = await book.take(of)
    await book.do(lambda db: book.ledger.checkpoint_slice(db, lost.id, token=lost.token, session=A, value="41"))
    await book.do(lambda db: book.ledger.recover(db, A))
    assert not await book.do(
        lambda db: book.ledger.checkpoint_slice(db, lost.id, token=lost.token, session=A, value="42")
    )
    looked = await book.look(of, session=B)
    ((again, checkpoint),) = looked.runs
    assert (again.id, again.attempt, again.slot, checkpoint) == (lost.id, 2, run.slot, "41")
    assert not await book.finish(lost)
    assert await book.finish(again, "again", session=B)
    (third,) = await book.take(of)
    assert (third.attempt, third.failures, third.slot) == (3, 1, run.slot)
    await book.do(lambda db: book.ledger.put_back(db, A, but=()))
    (fourth,) = await book.take(of)
    assert (fourth.attempt, fourth.slot) == (3, run.slot)


async def test_j09_a_dead_slice_makes_the_run_one_and_only_it_is_redriven(book: Book) -> None:
    run = await cut(book, of := job(), 3)
    first, *others = await book.take(of, room=10)
    assert await book.finish(first, "dead", error="ValueError: no such route")
    for one in others:
        assert await book.finish(one, result="1")
    (dead,) = await book.history()
    assert (dead.id, dead.outcome) == (run.id, "dead")
    assert dead.error == "1 of 3 slices have not succeeded, the first of them: ValueError: no such route"
    await book.do(lambda db: book.ledger.redrive(db, first.id))  # by either of the two
    (anew,) = await book.take(of)
    assert (anew.id, anew.parts) == (run.id, None)
    assert await book.finish(anew, "cut", parts=("{}", "{}", "{}"))
    (again,) = await book.take(of, room=10)
    assert again.part == 0
    assert await book.finish(again, result="0")
    (record,) = await book.history()
    assert record.outcome == "succeeded"
    assert await book.do(lambda db: book.ledger.results(db, run.id)) == ["0", "1", "1"]


async def test_a_dead_letter_that_is_let_go_of_counts_as_cancelled(book: Book) -> None:
    run = await cut(book, of := job(), 3)
    first, second, third = await book.take(of, room=10)
    assert await book.finish(first, "dead", error="ValueError: no such route")
    await book.do(lambda db: book.ledger.discard(db, first.id))  # its run is judged by it all the same
    assert await book.finish(second, "dead")
    assert await book.finish(third, result="1")
    (dead,) = await book.history()
    assert (dead.id, dead.outcome) == (run.id, "dead")
    await book.do(lambda db: book.ledger.discard(db, run.id))
    over = await book.do(lambda db: book.ledger.history(db, "sum", slices=True))
    assert {row.id: row.outcome for row in over} == {
        run.id: "cancelled",
        first.id: "cancelled",
        second.id: "cancelled",
        third.id: "succeeded",
    }
    for one in (run, first, third):
        with pytest.raises(UnknownJobError, match="knows no dead letter"):
            await book.do(lambda db: book.ledger.discard(db, one.id))  # noqa: B023 - at once


async def test_j09_a_cancelled_run_takes_its_slices_with_it(book: Book) -> None:
    run = await cut(book, of := job(), 3)
    (going,) = await book.take(of, room=1)
    await book.do(lambda db: book.ledger.cancel(db, run.id))
    looked = await book.look(of, room=10)
    assert looked.runs == ()
    assert looked.cancelling == {(going.id, going.token)}
    assert await book.finish(going, "cancelled")
    assert [row.outcome for row in await book.history()] == ["cancelled"]
    assert await book.live() == []


async def test_j09_nothing_to_do_is_done(book: Book) -> None:
    await cut(book, job(), 0)
    assert [row.outcome for row in await book.history()] == ["succeeded"]


async def test_j09_the_last_two_slices_end_at_once(book: Book) -> None:
    """On a server: each sees the other's slice as not over yet, until it has waited for it."""
    run = await cut(book, of := job(), 2)
    first, second = await book.take(of, room=2)
    if not isinstance(book.database, PostgresDatabase):  # on a file one is after the other
        await asyncio.gather(book.finish(first), book.finish(second))
    else:
        assert book.database._engine is not None
        async with book.database._engine.connect() as slow:
            ends = [Finish(first.id, first.token, "succeeded")]
            await slow.run_sync(lambda db: book.ledger.finish(db, ends, session=A))
            other = asyncio.create_task(book.finish(second))
            done, _ = await asyncio.wait([other], timeout=0.5)
            assert not done, "it has not waited for the other"
            await slow.commit()
            assert await other
    assert [row.id for row in await book.history()] == [run.id], "nobody has seen that all slices are over"


async def test_j09_a_host_cuts_executes_and_completes(host: Host) -> None:
    executed: Counter[int] = Counter()
    completed: list[Any] = []

    async def plan(run: Run) -> list[dict[str, Any]]:
        return [{"low": low, "high": low + 10} for low in range(0, 50, 10)]

    async def complete(run: Run) -> None:
        completed.append((run.params, sum(await run.results())))

    @host.job(slices=plan, on_complete=complete, params={"of": 50}, retry=3)
    async def total(run: Run) -> int:
        assert run.part is not None
        executed[run.part] += 1
        if run.part == 3 and run.attempt == 1:
            await run.checkpoint("half")
            raise ValueError("once")
        if run.part == 3:
            assert run.last_checkpoint == "half"
        assert run.params["of"] == 50
        return sum(range(run.params["low"], run.params["high"]))

    async with host.lifespan():
        record = await over(host, await host.jobs.run_now("total"))
    assert record.outcome == "succeeded"
    assert completed == [({"of": 50}, sum(range(50)))]
    assert executed == {0: 1, 1: 1, 2: 1, 3: 2, 4: 1}


async def test_j09_a_number_of_slices_needs_no_planner(host: Host) -> None:
    seen: list[Any] = []

    @host.job(slices=4)
    async def part(run: Run) -> None:
        seen.append((run.part, run.parts))
        (live,) = await host.jobs.live("part")
        assert live.progress is not None
        assert live.progress.of == 4

    async with host.lifespan():
        assert (await over(host, await host.jobs.run_now("part"))).outcome == "succeeded"
    assert sorted(seen) == [(0, 4), (1, 4), (2, 4), (3, 4)]


async def test_j09_what_a_slice_returns_must_be_json(host: Host) -> None:
    @host.job(slices=1)
    async def part(run: Run) -> object:
        return object()

    async with host.lifespan():
        record = await over(host, await host.jobs.run_now("part"))
    assert record.outcome == "dead"
    assert "cannot be kept as JSON" in record.error


def test_progress_says_how_fast_and_how_long() -> None:
    assert Progress.after(10.0, done=20, of=100) == Progress(20, 100, 2.0, 40.0)
    assert Progress.after(10.0, done=0, of=100) == Progress(0, 100, 0.0, None)


async def body(run: Run) -> None: ...


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"slices": 0}, "must be 1 to 10,000"),
        ({"on_complete": body}, "say slices=, too"),
        ({"slices": lambda run: []}, "plain def"),
    ],
)
def test_j10_slices_that_cannot_be_are_told_when_they_are_declared(options: Any, told: str) -> None:
    with pytest.raises((ConfigurationError, ScheduleError), match=told):
        job_of("sum", body, None, options)
