"""How the places of an instance are shared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as some

from locum.jobs.overlap import Overlap
from locum.jobs.shares import Want, kept_free, shares
from tests.unit.jobs.book import A, Book, job, one_claimed

if TYPE_CHECKING:
    from locum.jobs.job import Job
    from locum.jobs.steps import LiveRun

WANTS = some.lists(some.builds(Want, some.integers(0, 30), some.integers(0, 30), some.booleans()), max_size=8)
ROOM, KEPT = some.integers(0, 40), some.integers(0, 5)


@given(WANTS, ROOM, KEPT)
def test_nobody_is_given_more_than_there_is_or_than_it_wants(wants: list[Want], room: int, kept: int) -> None:
    given = shares(wants, room=room, kept=kept)
    assert sum(given) <= room
    assert all(0 <= many <= want.many for many, want in zip(given, wants, strict=True))


@given(WANTS, ROOM, KEPT)
def test_no_place_stays_free_that_somebody_may_have(wants: list[Want], room: int, kept: int) -> None:
    given = shares(wants, room=room, kept=kept)
    left = room - sum(given)
    hungry = [want for want, many in zip(wants, given, strict=True) if many < want.many]
    assert not hungry or left <= kept
    firsts = [one for one in hungry if not one.going and not one.is_cut]
    assert left == 0 or all(given[wants.index(one)] for one in firsts), "a first one waits before a free place"


@given(WANTS, ROOM, KEPT)
def test_whoever_has_less_here_is_given_first(wants: list[Want], room: int, kept: int) -> None:
    """None that wanted more has two less than one that was given something, but for what is kept for first ones."""
    given = shares(wants, room=room, kept=kept)
    have = [want.going + many for want, many in zip(wants, given, strict=True)]
    for want, many, has in zip(wants, given, have, strict=True):
        if many < want.many:
            richer = [other for other, got, whose in zip(have, given, wants, strict=True) if got and whose is not want]
            assert all(other <= has + 1 for other in richer)


@given(WANTS, ROOM, KEPT)
def test_others_than_first_ones_leave_what_is_kept(wants: list[Want], room: int, kept: int) -> None:
    given = shares(wants, room=room, kept=kept)
    firsts = sum(1 for want, many in zip(wants, given, strict=True) if many and not want.going and not want.is_cut)
    assert sum(given) - firsts <= max(0, room - kept)


@given(some.lists(some.integers(1, 20), min_size=1, max_size=8), some.integers(1, 40))
def test_of_equals_whoever_has_waited_longer_is_given_the_odd_ones(many: list[int], room: int) -> None:
    given = shares([Want(0, room) for _ in many], room=room, kept=0)
    assert given == sorted(given, reverse=True)
    assert sum(given) == room


def test_an_eighth_of_the_places_is_kept_for_others_if_there_are_such() -> None:
    assert [kept_free(places, is_alone=False) for places in (1, 2, 10, 16, 200)] == [0, 1, 1, 2, 25]
    assert kept_free(10, is_alone=True) == 0


# -- in the ledger


async def cut_whole(book: Book, of: Job, parts: int) -> None:
    """A run of a job, which has been cut."""
    await book.do(lambda db: book.ledger.run_now(db, of.name, nonce=None, params="{}"))
    (whole,) = await book.take(of)
    assert await book.finish(whole, "cut", parts=("{}",) * parts)


async def take(book: Book, *jobs: Job, room: int, going: dict[str, int]) -> list[LiveRun]:
    known: dict[str, Any] = {one.name: one for one in jobs}
    taken = await book.do(lambda db: book.ledger.take(db, known, session=A, instance="a", room=room, going=going))
    return [run for run, _ in taken.runs]


async def test_a_job_that_is_cut_leaves_a_place_to_a_short_schedule(book: Book) -> None:
    cut, short = job("cut", trigger=None, slices=30), job("short")
    await book.declare(cut, short)
    await book.take(cut, short)
    await cut_whole(book, cut, 30)
    slices = await take(book, cut, short, room=10, going={})
    assert [run.part for run in slices] == list(range(9))
    assert await take(book, cut, short, room=1, going={"cut": 9}) == []
    await book.plan(1, "short")
    (run,) = await take(book, cut, short, room=1, going={"cut": 9})
    assert run.job == "short"


async def test_one_that_is_alone_has_all_places(book: Book) -> None:
    cut = job("cut", trigger=None, slices=30)
    await book.declare(cut)
    await cut_whole(book, cut, 30)
    assert len(await take(book, cut, room=10, going={})) == 10


async def test_two_jobs_that_are_cut_share_the_places(book: Book) -> None:
    """Though the slices of one have waited longer, and are more than all places."""
    jobs = [job(name, trigger=None, slices=30) for name in ("early", "late")]
    await book.declare(*jobs)
    for one in jobs:
        await cut_whole(book, one, 30)
    begun = await take(book, *jobs, room=7, going={"early": 4})
    assert sorted(run.job for run in begun) == ["early"] + ["late"] * 5


async def test_a_job_that_may_have_many_runs_leaves_a_place_too(book: Book) -> None:
    many, short = job("many", trigger=None, overlap=Overlap(policy="allow", most=50)), job("short")
    await book.declare(many, short)
    times: list[tuple[Any, ...]] = [(number, "{}") for number in range(1, 31)]
    await book.do(lambda db: book.ledger.backfill(db, "many", times))
    assert len(await take(book, many, short, room=10, going={})) == 9


async def test_what_has_lost_its_executor_may_have_the_place_that_is_kept(book: Book) -> None:
    of, other = job(), job("other")
    await one_claimed(book, of)
    await book.declare(other)
    await book.do(lambda db: book.ledger.recover(db, A))
    (again,) = await take(book, of, other, room=1, going={"other": 9})
    assert again.job == "sum"
