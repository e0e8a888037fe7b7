"""Jobs in a host that runs: how runs begin, end and are ended."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, update

from locum import Host, Misfire, Overlap, Retry, Run
from locum.clock import Clock
from locum.errors import ConfigurationError, ScheduleError, TermEndedError, UnknownJobError
from locum.jobs import database
from locum.jobs.job import in_words, micros
from locum.jobs.ledger import Ledger
from locum.jobs.tables import Tables
from locum.registry import make_store
from locum.testing.conformance import demand_server
from tests.servers.redis import Redis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from locum.jobs.jobs import Past

LONG = 60.0


class Bank:
    """A collaborator."""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host("shop", store=f"sqlite:///{tmp_path}/shop.db", ttl=4.0)


async def until(condition: Callable[[], bool], what: str = "it") -> None:
    deadline = asyncio.get_running_loop().time() + LONG
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"waited for {what}, which never came"
        await asyncio.sleep(0.02)


async def over(host: Host, run: str) -> Past:
    """How a run has ended, once it has."""
    async with asyncio.timeout(LONG):
        while True:
            found = [one for one in await host.jobs.history() if one.id == run]
            if found:
                return found[0]
            await asyncio.sleep(0.02)


async def test_a_run_is_given_its_params_its_time_and_collaborators(host: Host) -> None:
    given: list[Any] = []
    host.provide(Bank)

    async def settle(run: Run, bank: Bank) -> None:
        given.append((run.params, run.attempt, run.nonce, type(bank).__name__, run.is_current))

    host.job(params={"day": "{fire_at:%Y}"})(settle)
    async with host.lifespan():
        first = await host.jobs.run_now("settle", nonce="t-1", params={"x": 1})
        assert (await over(host, first)).outcome == "succeeded"
        assert await host.jobs.run_now("settle", nonce="t-1") == first
        second = await over(host, await host.jobs.run_now("settle"))
        assert (second.outcome, second.token) == ("succeeded", 2)
    assert given[0] == ({"x": 1}, 1, "manual/t-1", "Bank", True)
    assert len(given) == 2
    assert int(given[1][0]["day"]) > 2000


async def test_a_schedule_fires_and_leaves_the_rest_to_the_next_run(host: Host) -> None:
    fired: list[Any] = []

    @host.schedule(every=0.2, misfire=Misfire(policy="all", grace=10.0), overlap="buffer_all")
    async def tick(run: Run) -> None:
        fired.append(run.fire_at)
        await run.checkpoint((run.last_checkpoint or 0) + 1)

    async with host.lifespan():
        await until(lambda: len(fired) >= 4)
        (job,) = await host.jobs.all()
        assert (job.name, job.trigger) == ("tick", "every 0.2 s since 1970-01-01T00:00:00+00:00")
    assert fired == sorted(set(fired))


async def test_a_failed_run_is_tried_again_and_a_dead_letter_can_be_redriven(host: Host) -> None:
    attempts: list[tuple[int, Any]] = []

    @host.job(retry=Retry(attempts=2, initial=0.01, on=(ValueError,)))
    async def flaky(run: Run) -> None:
        attempts.append((run.attempt, run.last_checkpoint))
        await run.checkpoint(run.attempt)
        if run.attempt < 3:
            raise ValueError("no such day")

    async with host.lifespan():
        run = await host.jobs.run_now("flaky")
        dead = await over(host, run)
        assert (dead.outcome, dead.attempt, dead.error) == ("dead", 2, "ValueError: no such day")
        assert [one.id for one in await host.jobs.dead()] == [run]
        await host.jobs.redrive(run)
        await until(lambda: len(attempts) == 3)
    assert attempts == [(1, None), (2, 1), (3, 2)]


@pytest.mark.parametrize(
    ("options", "told"),
    [({"limit": 0.2}, "took longer than its limit of 0.2 s"), ({"stall": 0.2}, "did not say for too long")],
)
async def test_a_run_that_takes_too_long_is_ended(host: Host, options: Any, told: str) -> None:
    ended = asyncio.Event()

    @host.job(**options)  # type: ignore[untyped-decorator]
    async def slow(run: Run) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with host.lifespan():
        dead = await over(host, await host.jobs.run_now("slow"))
    assert ended.is_set()
    assert dead.outcome == "dead"
    assert dead.error.startswith("JobTimeoutError: ")
    assert told in dead.error


async def test_who_says_that_it_goes_on_is_not_stalled(host: Host) -> None:
    @host.job(stall=2.0)
    async def busy(run: Run) -> None:
        for _ in range(30):
            await asyncio.sleep(0.1)
            run.beat()

    async with host.lifespan():
        assert (await over(host, await host.jobs.run_now("busy"))).outcome == "succeeded"


async def test_a_run_is_cancelled_by_whoever_asks(host: Host) -> None:
    began = asyncio.Event()

    @host.job
    async def endless(run: Run) -> None:
        began.set()
        await asyncio.Event().wait()

    async with host.lifespan():
        run = await host.jobs.run_now("endless")
        await asyncio.wait_for(began.wait(), LONG)
        (live,) = await host.jobs.live("endless")
        assert (live.id, live.state) == (run, "running")
        await host.jobs.cancel(run)
        assert (await over(host, run)).outcome == "cancelled"


async def test_a_later_time_takes_the_place_of_a_run_that_goes(host: Host) -> None:
    fired: list[Any] = []

    @host.schedule(every=0.5, overlap="cancel_running", misfire=Misfire(grace=10.0))
    async def newest(run: Run) -> None:
        fired.append(run.fire_at)
        await asyncio.Event().wait()

    async with host.lifespan():
        await until(lambda: len(fired) >= 3)
        await host.jobs.pause("newest", reason="enough")
        for one in await host.jobs.live():
            await host.jobs.cancel(one.id)
            await over(host, one.id)
        outcomes = {one.outcome for one in await host.jobs.history() if one.token}
    assert outcomes == {"cancelled"}


async def test_several_at_once_and_no_more(host: Host) -> None:
    going, most, enough = 0, 0, asyncio.Event()

    @host.job(overlap=Overlap(policy="allow", most=3))
    async def work(run: Run) -> None:
        nonlocal going, most
        going += 1
        most = max(most, going)
        if going == 3:
            enough.set()
        await enough.wait()
        await asyncio.sleep(0.2)  # one more would begin now
        going -= 1

    async with host.lifespan():
        runs = [await host.jobs.run_now("work") for _ in range(7)]
        for run in runs:
            assert (await over(host, run)).outcome == "succeeded"
    assert most == 3


async def test_what_has_not_ended_when_the_host_stops_is_given_back(host: Host) -> None:
    began = asyncio.Event()

    @host.job
    async def long(run: Run) -> None:
        began.set()
        while not run.stopping:
            await run.sleep(60)
        raise asyncio.CancelledError

    async with host.lifespan():
        run = await host.jobs.run_now("long")
        await asyncio.wait_for(began.wait(), LONG)
    (live,) = await host.jobs.live()
    assert (live.id, live.state, live.attempt) == (run, "ready", 2)
    began.clear()
    async with host.lifespan():  # the next one goes on with it
        await asyncio.wait_for(began.wait(), LONG)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who executes by a file waits for its turn no longer than others do: each of these tests would take 30 s."""
    monkeypatch.setattr(database, "_LONG_TURN", 0.0)


@pytest.mark.usefixtures("impatient")
async def test_j11_nothing_is_lost_while_the_job_database_does_not_answer(
    host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    began, go = asyncio.Event(), asyncio.Event()

    @host.job
    async def work(run: Run) -> None:
        began.set()
        await go.wait()

    async with host.lifespan():
        run = await host.jobs.run_now("work")
        await asyncio.wait_for(began.wait(), LONG)
        with (tmp_path / "shop-jobs.db-queue").open() as queue:
            fcntl.flock(queue, fcntl.LOCK_EX)  # as somebody who is stopped in the middle of a transaction
            go.set()
            await until(lambda: "are not written yet" in caplog.text and "jobs wait for their database" in caplog.text)
        record = await over(host, run)
    assert (record.outcome, record.token, record.attempt) == ("succeeded", 1, 1)


async def test_j04_a_write_under_an_older_token_is_refused(host: Host, tmp_path: Path) -> None:
    """The fence has seen a later execution; this one learns so at its first write, and nothing is written."""
    refused: list[str] = []

    @host.job
    async def pay(run: Run) -> None:
        with closing(sqlite3.connect(tmp_path / "bank.db")) as bank:
            bank.execute("CREATE TABLE IF NOT EXISTS paid (token)")
            bank.commit()
            async with run.transaction(bank) as connection:
                connection.execute("INSERT INTO paid VALUES (?)", (run.token,))
            if run.attempt == 1:
                bank.execute("UPDATE locum_fence SET highest = highest + 40")
                bank.commit()
                try:
                    async with run.transaction(bank) as connection:
                        connection.execute("INSERT INTO paid VALUES (?)", (-1,))
                except Exception as error:
                    refused.append(type(error).__name__)
                    raise

    async with host.lifespan():
        record = await over(host, await host.jobs.run_now("pay"))
    assert refused == ["StaleTermError"]
    assert (record.outcome, record.token, record.attempt) == ("succeeded", 42, 2)
    with closing(sqlite3.connect(tmp_path / "bank.db")) as bank:
        assert bank.execute("SELECT token FROM paid").fetchall() == [(1,), (42,)]


async def test_only_times_that_have_passed_are_backfilled(host: Host) -> None:
    """What has not come would begin before its time, and a second time in it."""

    @host.schedule(every=3600)
    async def hourly(run: Run) -> None: ...

    async with host.lifespan():
        now = Clock().wall()
        await until_declared(host, 1)
        assert await host.jobs.backfill("hourly", now - timedelta(hours=3), now + timedelta(hours=5)) in (3, 4)
        assert await host.jobs.backfill("hourly", now + timedelta(hours=2), now + timedelta(hours=5)) == 0
        with pytest.raises(ScheduleError, match="give both a zone"):
            await host.jobs.backfill("hourly", now.replace(tzinfo=None), now)


async def until_declared(host: Host, many: int) -> None:
    async with asyncio.timeout(LONG):
        while True:
            if len(await host.jobs.all()) == many:
                return
            await asyncio.sleep(0.02)


async def test_j10_what_cannot_be_asked_is_told(host: Host) -> None:
    @host.job
    async def bare(run: Run) -> None: ...

    with pytest.raises(ConfigurationError, match="already"):
        host.job(name="bare")(bare)
    with pytest.raises(ScheduleError, match="Bad minute"):
        host.schedule(cron="99 * * * *")(bare)
    with pytest.raises(UnknownJobError, match="other"):
        await host.jobs.run_now("other")


async def test_jobs_stand_in_a_database_of_their_own_where_the_store_keeps_none(tmp_path: Path) -> None:
    demand_server("redis", Redis.is_installed())
    with Redis(tmp_path / "server") as server:
        host = Host(
            "shop", store=f"redis://127.0.0.1:{server.port}", job_store=f"sqlite:///{tmp_path}/jobs.db", ttl=4.0
        )

        @host.job
        async def work(run: Run) -> None:
            if run.attempt == 1:
                await close_session(host, run.lease.session)
                await asyncio.Event().wait()

        async with host.lifespan():
            record = await over(host, await host.jobs.run_now("work"))
    assert (record.outcome, record.attempt, record.token) == ("succeeded", 2, 2)


async def test_a_store_that_keeps_no_jobs_must_be_given_a_job_store() -> None:
    host = Host("shop", store="redis://127.0.0.1:1")

    @host.job
    async def bare(run: Run) -> None: ...

    with pytest.raises(ConfigurationError, match="LOCUM_JOB_STORE"):
        await host.jobs.all()


@contextmanager
def held(tmp_path: Path) -> Iterator[None]:
    """The job database as somebody leaves it who is stopped in the middle of a transaction."""
    with (tmp_path / "shop-jobs.db-queue").open("a") as queue:
        fcntl.flock(queue, fcntl.LOCK_EX)
        yield


@contextmanager
def beside(tmp_path: Path) -> Iterator[tuple[Ledger, Connection]]:
    """A transaction of the job database that is not its host's."""
    engine = create_engine(f"sqlite:///{tmp_path}/shop-jobs.db")
    with engine.begin() as db:
        yield Ledger(Tables(None), "shop", ""), db
    engine.dispose()


@pytest.mark.usefixtures("impatient")
async def test_j11_a_host_waits_for_a_job_database_that_is_not_there_yet(
    host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @host.job
    async def work(run: Run) -> None: ...

    runs = asyncio.Event()

    async def serve() -> None:
        async with host.lifespan():
            assert (await over(host, await host.jobs.run_now("work"))).outcome == "succeeded"
            runs.set()

    with held(tmp_path):
        serving = asyncio.create_task(serve())
        await until(lambda: "jobs wait for their database" in caplog.text)
        assert "failed" not in caplog.text
        assert not runs.is_set()
    await asyncio.wait_for(serving, LONG)


@pytest.mark.usefixtures("impatient")
async def test_j11_a_checkpoint_waits_for_a_database_that_does_not_answer(
    host: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    began, go = asyncio.Event(), asyncio.Event()

    @host.job
    async def count(run: Run) -> None:
        began.set()
        await go.wait()
        await run.checkpoint(7)

    async with host.lifespan():
        run = await host.jobs.run_now("count")
        await asyncio.wait_for(began.wait(), LONG)
        with held(tmp_path):
            go.set()
            await until(lambda: "a checkpoint is not kept yet" in caplog.text)
        record = await over(host, run)
    assert (record.outcome, record.attempt) == ("succeeded", 1)


async def test_j02_a_claim_whose_answer_was_lost_begins_here_and_is_its_first_attempt(
    host: Host, tmp_path: Path
) -> None:
    """Nobody else may go on with it, for the session lives; its own instance finds that it knows nothing of it."""
    began: list[tuple[str, int, int]] = []
    session = ""

    @host.job
    async def work(run: Run) -> None:
        nonlocal session
        session = run.lease.session
        began.append((run.id, run.attempt, run.token))

    known = {"work": host.plan.take_jobs().jobs["work"]}
    async with host.lifespan():
        await over(host, await host.jobs.run_now("work"))
        with beside(tmp_path) as (ledger, db):  # a claim as that of this host, which has never heard of it
            lost = ledger.run_now(db, "work", nonce="lost", params="{}")
            taken = ledger.take(db, known, session=session, instance="a", room=1)
        assert [run.id for run, _ in taken.runs] == [lost]
        await host.jobs.run_now("work")  # it looks, and waits for a place
        await until(lambda: len(began) > 1, "what was claimed by a lost answer")
        assert began[1] == (lost, 1, 3)


async def test_j05_after_three_hours_each_policy_is_kept_and_the_start_waits_for_none_of_it(
    host: Host, tmp_path: Path
) -> None:
    now = Clock().wall()
    fired: dict[str, list[Any]] = {"latest": [], "none": [], "earliest": [], "all": []}

    async def note(run: Run) -> None:
        fired[run.name].append(run.fire_at)

    for policy in ("latest", "none", "earliest", "all"):
        host.schedule(
            cron=f"{(now.minute + 30) % 60} * * * *",
            name=policy,
            misfire=Misfire(policy=policy, window=20_000.0),
            overlap="buffer_all",
        )(note)
    seconds = host.schedule(every=1, misfire="none", name="seconds")
    seconds(note)
    fired["seconds"] = []
    first, second, third = (
        now.replace(second=0, microsecond=0) + timedelta(minutes=30 if now.minute < 30 else -30, hours=-hours)
        for hours in ((3, 2, 1) if now.minute < 30 else (2, 1, 0))
    )
    async with host.lifespan():
        await until_declared(host, len(fired))
    with beside(tmp_path) as (ledger, db):  # as they are when all has been down since then
        jobs = ledger._tables.jobs
        db.execute(update(jobs).values(next_at=micros(first), decided_until=micros(first) - 1))
    async with host.lifespan():
        expected = {"latest": [third], "none": [], "earliest": [first], "all": [first, second, third]}
        await until(lambda: all(fired[name] == times for name, times in expected.items()) and len(fired["seconds"]) > 1)
        left_out = [one for one in await host.jobs.history(limit=1000) if one.error.startswith("missed")]
    assert min(fired["seconds"]) > third, "a time has fired that policy none leaves out"
    told = {one.job: (one.fire_at, one.error) for one in left_out if one.job != "seconds"}
    words = {at: in_words(micros(at)) for at in (first, second, third)}
    assert told == {
        "latest": (first, f"missed, by misfire=latest: {words[first]} to {words[second]}"),
        "none": (first, f"missed, by misfire=none: {words[first]} to {words[third]}"),
        "earliest": (second, f"missed, by misfire=earliest: {words[second]} to {words[third]}"),
    }
    assert min(one.fire_at for one in left_out if one.job == "seconds") == first


async def test_what_is_claimed_while_its_host_ends_is_given_back_unbegun(host: Host, tmp_path: Path) -> None:
    began: list[int] = []
    stop, runs = asyncio.Event(), asyncio.Event()

    @host.job
    async def work(run: Run) -> None:
        began.append(run.attempt)

    async def serve() -> None:
        async with host.lifespan():
            await over(host, await host.jobs.run_now("work"))
            runs.set()
            await stop.wait()

    serving = asyncio.create_task(serve())
    await asyncio.wait_for(runs.wait(), LONG)
    with held(tmp_path):
        with beside(tmp_path) as (ledger, db):  # not in the queue of the others, who all wait
            ledger.run_now(db, "work", nonce="late", params="{}")
        await asyncio.sleep(1.5)  # more than the pause between two looks: one of them waits by now
        stop.set()
    await asyncio.wait_for(serving, LONG)
    assert began == [1]
    (left,) = await host.jobs.live("work")
    assert (left.state, left.attempt) == ("ready", 1)


async def test_what_cannot_begin_has_not_failed(host: Host, tmp_path: Path) -> None:
    """The database that its fence stands in does not answer: that is no failure of the run's, which has one attempt."""
    began: list[int] = []
    bank = sqlite3.connect(tmp_path / "bank.db", isolation_level=None)
    host.fence(bank)

    @host.job
    async def pay(run: Run) -> None:
        began.append(run.token)

    async with host.lifespan():
        bank.execute("BEGIN EXCLUSIVE")
        run = await host.jobs.run_now("pay")
        async with asyncio.timeout(LONG):
            while not (found := await host.jobs.live("pay")) or not found[0].error:
                pass
    assert (found[0].id, found[0].state, found[0].attempt) == (run, "ready", 1)
    assert not began
    assert await host.jobs.history() == []
    bank.close()


async def test_the_end_of_something_else_that_a_body_held_is_its_failure(host: Host) -> None:
    """Given back it would begin again at once, and so for ever."""
    began: list[int] = []

    @host.job
    async def pay(run: Run) -> None:
        began.append(run.token)
        raise TermEndedError("lock/invoice-42", 3, "lost its lease")

    async with host.lifespan():
        record = await over(host, await host.jobs.run_now("pay"))
    assert (record.outcome, began) == ("dead", [1])


async def test_j03_a_run_whose_old_body_still_ends_here_is_taken_up_after_that(host: Host, tmp_path: Path) -> None:
    """Its session was closed under it; this very instance goes on under a new one, and loses sight of neither."""
    going, most, tokens = 0, 0, []
    leave = asyncio.Event()

    @host.job
    async def slow(run: Run) -> None:
        nonlocal going, most
        going += 1
        most = max(most, going)
        tokens.append(run.token)
        try:
            if run.attempt == 1:
                await close_session(host, run.lease.session)
                await asyncio.Event().wait()
            await leave.wait()
        finally:
            if run.attempt == 1:  # it takes its time to end
                await asyncio.sleep(2.5)
            going -= 1

    async with host.lifespan():
        run = await host.jobs.run_now("slow")
        await until(lambda: len(tokens) == 2)
        (live,) = await host.jobs.live("slow")
        assert (live.state, live.attempt) == ("running", 2)
        await asyncio.sleep(2.2)  # others would look for what nobody goes on with, each second
        leave.set()
        record = await over(host, run)
    assert (record.outcome, record.token, most) == ("succeeded", tokens[1], 1)
    assert tokens == [1, 2]


async def close_session(host: Host, session: str) -> None:
    store = make_store(host.settings.store_url, namespace=host.name, clock=Clock())
    await store.open()
    try:
        await store.close_session(session, reason=b"a test")
    finally:
        await store.close()
