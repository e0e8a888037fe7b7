"""Services that work on one instance: every way in, every way out, over real elections."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest

from locum import blocking, exit_codes
from locum.coordination.fence import fence_of
from locum.coordination.grant import Grant, grant_key
from locum.coordination.line import line_prefix
from locum.errors import CrashLoopError, StaleTermError, StopTimeoutError
from locum.host.restart import Restart
from locum.service import Mode, ServiceHooks
from locum.services.active_passive import ActivePassiveRunner, ActivePassiveService, Standby
from locum.telemetry import ServiceFailed
from locum.testing.faults import Held
from locum.testing.instances import Instance
from tests.unit.kit import instance, soon, turns, until
from tests.unit.services.house import House, restarting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from locum.coordination.term import Term

GRANT = grant_key("election/settlement")
LINE = line_prefix("election/settlement")


class Work:
    """A body that the test watches and ends.

    Attributes:
        terms: The terms under which it ran.
        began: Set when it has begun.
        ended: How often it has ended, for whatever reason.
    """

    def __init__(self) -> None:
        self.terms: list[Term] = []
        self.began, self.go = asyncio.Event(), asyncio.Event()
        self.ended = 0
        self.at_the_end: Callable[[], Awaitable[object]] | None = None

    async def __call__(self, term: Term) -> None:
        self.terms.append(term)
        self.began.set()
        try:
            await self.go.wait()
        finally:
            if self.at_the_end is not None:
                await self.at_the_end()
            self.ended += 1


class Running:
    """A runner on an instance."""

    def __init__(
        self,
        one: Instance,
        active: Any,
        passive: Any,
        hooks: ServiceHooks | None,
        timeout: float,
        restart: Restart | None = None,
        says_ready: bool = False,
    ) -> None:
        self.one, self.house = one, House(one.leases.owner.name)
        self.runner = ActivePassiveRunner(
            "settlement",
            active,
            passive,
            hooks,
            election=one.election("settlement"),
            surroundings=self.house,
            restarts=restarting(self.house, "settlement", restart),
            stop_timeout=timeout,
            says_ready=says_ready,
        )

    async def stop(self) -> None:
        await soon(self.runner.stop("was stopped"))
        await soon(self.runner.close())

    async def grant(self) -> Grant:
        return Grant.of(await self.one.store.read(GRANT))

    async def nothing_is_left(self) -> None:
        """Nobody holds it, nobody waits, no timer stands."""
        await self.one.commons.close(patience=20)
        assert (await self.grant()).holder is None
        assert (await self.one.store.list(LINE)).records == []
        assert self.one.leases.armed == set()


class Stage:
    """Makes instances and runners on one file."""

    def __init__(self, path: Path, stack: AsyncExitStack) -> None:
        self._path, self._stack = path, stack
        self._runners: list[Running] = []

    async def run(
        self,
        active: Any,
        passive: Any = None,
        *,
        name: str = "web-1",
        hooks: ServiceHooks | None = None,
        timeout: float = 20,
        restart: Restart | None = None,
        says_ready: bool = False,
        before: Callable[[Instance], object] | None = None,
    ) -> Running:
        one = await self._stack.enter_async_context(instance(self._path, name))
        if before is not None:
            before(one)
        running = Running(one, active, passive, hooks, timeout, restart, says_ready)
        self._runners.append(running)
        await running.runner.start()
        return running

    async def close(self) -> None:
        for running in self._runners:
            try:
                await running.stop()
            except StopTimeoutError:
                pass


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        stage = Stage(tmp_path / "store.db", stack)
        yield stage
        await stage.close()


# -- working


async def test_it_works_under_a_term_and_shows_its_token(stage: Stage) -> None:
    work = Work()
    running = await stage.run(work)
    await soon(work.began.wait())
    (term,) = work.terms
    assert term.is_current
    assert running.house.shown[:3] == [(Mode.STARTING, None), (Mode.PASSIVE, None), (Mode.ACTIVE, term.token)]


async def test_the_other_one_stands_by(stage: Stage) -> None:
    work, other = Work(), Work()
    first = await stage.run(work)
    await soon(work.began.wait())
    second = await stage.run(other, name="web-2")
    await until(lambda: second.one.store.answered("list", LINE), "its look at the line")
    assert Mode.ACTIVE not in second.house.modes
    await first.stop()
    await soon(other.began.wait())
    assert (work.ended, other.terms[0].token) == (1, 2)


# -- raising


async def test_a_body_that_raises_gives_its_term_up_with_the_reason_and_backs_off(stage: Stage) -> None:
    runs: list[int] = []

    async def fails_once(term: Term) -> None:
        runs.append(term.token)
        if len(runs) == 1:
            raise ValueError("boom")
        await asyncio.Event().wait()

    running = await stage.run(fails_once)
    await running.house.shows(Mode.BACKOFF)
    await turns()
    grant = await running.grant()
    assert grant.holder is None
    assert grant.past is not None
    assert grant.past.why == "raised ValueError: boom"
    (event,) = running.house.events
    assert isinstance(event, ServiceFailed)
    assert str(event.error) == "boom"
    assert running.house.clock.slept == [event.retry_in]
    assert runs == [1], "not before the backoff is over"
    running.house.clock.wake()
    await running.house.shows(Mode.ACTIVE, times=2)
    await turns()
    assert runs == [1, 2]


async def test_r20_a_body_that_a_fence_has_refused_is_followed_by_a_token_that_it_has_not_seen(stage: Stage) -> None:
    tokens: list[int] = []

    async def refused_once(term: Term) -> None:
        tokens.append(term.token)
        if len(tokens) == 1:
            raise StaleTermError(term.scope, term.token, 41)
        await asyncio.Event().wait()

    running = await stage.run(refused_once)
    await running.house.clock.sleeper()
    running.house.clock.wake()
    await running.house.shows(Mode.ACTIVE, times=2)
    await turns()
    assert tokens == [1, 42]


async def test_another_one_takes_over_from_one_that_raised(stage: Stage) -> None:
    work, other = Work(), Work()

    async def fails(term: Term) -> None:
        await work(term)
        raise ValueError("boom")

    first = await stage.run(fails)
    await soon(work.began.wait())
    await stage.run(other, name="web-2")
    work.go.set()
    await soon(other.began.wait())
    await first.house.shows(Mode.BACKOFF)
    assert first.house.modes.count(Mode.ACTIVE) == 1


async def test_delays_grow_from_one_failure_to_the_next(stage: Stage) -> None:
    async def fails(term: Term) -> None:
        raise ValueError("boom")

    running = await stage.run(fails)
    for _ in range(4):
        await running.house.clock.sleeper()
        running.house.clock.wake()
    bounds = [0.5, 1.0, 2.0, 4.0]
    for delay, bound in zip(running.house.clock.slept, bounds, strict=False):
        assert bound / 2 <= delay <= bound


async def test_a_body_that_was_cancelled_by_somebody_else_counts_as_failed(stage: Stage) -> None:
    async def cancels_itself(term: Term) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    running = await stage.run(cancels_itself)
    await running.house.shows(Mode.BACKOFF)
    (event,) = running.house.events
    assert isinstance(event, ServiceFailed)
    assert "not by Locum" in str(event.error)


async def test_a_fence_that_is_held_for_too_long_is_a_failure_with_a_backoff(stage: Stage, tmp_path: Path) -> None:
    path, work = tmp_path / "orders.db", Work()
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.execute("BEGIN IMMEDIATE")

        class Impatient:
            """A real fence, for which this test does not wait as long as a term would."""

            database = "orders"
            patience = 0.01

            async def open(self) -> None: ...

            async def raise_to(self, scope: str, token: int, *, timeout: float) -> None:
                await fence_of(older).raise_to(scope, token, timeout=self.patience)

        running = await stage.run(work, before=lambda one: one.fences.append(Impatient()))
        await running.house.shows(Mode.BACKOFF)
        older.execute("ROLLBACK")
        Impatient.patience = 20.0
        (event,) = running.house.events
        assert isinstance(event, ServiceFailed)
        assert isinstance(event.error, TimeoutError)
        running.house.clock.wake()
        await soon(work.began.wait())


# -- returning


async def test_a_body_that_returns_keeps_its_grant_and_is_not_run_again(stage: Stage) -> None:
    work = Work()
    running = await stage.run(work)
    work.go.set()
    await running.house.shows(Mode.COMPLETED)
    await turns()
    grant = await running.grant()
    assert grant.holder is not None
    assert len(work.terms) == 1
    assert running.one.leases.armed == set()
    assert running.house.events == []
    await running.stop()
    await running.nothing_is_left()
    past = (await running.grant()).past
    assert past is not None
    assert past.why == "was stopped"


async def test_a_completed_one_that_loses_its_lease_only_stands_in_line_again(stage: Stage) -> None:
    work = Work()
    running = await stage.run(work)
    work.go.set()
    await running.house.shows(Mode.COMPLETED)
    await running.one.leases.die("fell silent")
    await running.one.leases.begin()
    await running.house.shows(Mode.ACTIVE, times=2)
    assert running.house.failures == []


# -- stopping


async def test_a_stop_while_it_works_cancels_awaits_and_only_then_releases(stage: Stage) -> None:
    work, held = Work(), []
    running = await stage.run(work)
    await soon(work.began.wait())

    async def look() -> None:
        grant = await running.grant()
        held.append((grant.holder is not None, work.terms[0].is_current, work.terms[0].stopping))

    work.at_the_end = look
    await running.stop()
    assert held == [(True, False, True)], "not current any more, and not released yet"
    assert work.ended == 1
    await running.nothing_is_left()


async def test_a_stop_in_the_line_leaves_no_place_behind(stage: Stage) -> None:
    work, other = Work(), Work()
    await stage.run(work)
    await soon(work.began.wait())
    second = await stage.run(other, name="web-2")
    await until(lambda: second.one.store.answered("list", LINE), "its look at the line")
    await second.stop()
    await second.one.commons.close(patience=20)
    assert len((await second.one.store.list(LINE)).records) == 1
    assert other.terms == []


@pytest.mark.parametrize("answer", [True, False])
async def test_a_stop_in_the_middle_of_a_take_gives_back_what_landed(stage: Stage, answer: bool) -> None:
    work, take = Work(), Held(answer=answer)
    running = await stage.run(work, before=lambda one: one.store.plan("write", _first, take, key=GRANT))
    await soon(take.reached.wait())
    stopping = asyncio.ensure_future(running.stop())
    await turns()
    take.let_go()
    await soon(stopping)
    await running.nothing_is_left()
    assert work.terms == []


async def _first(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()


async def test_a_stop_in_the_middle_of_a_backoff_ends_it(stage: Stage) -> None:
    async def fails(term: Term) -> None:
        raise ValueError("boom")

    running = await stage.run(fails)
    await running.house.shows(Mode.BACKOFF)
    await running.stop()
    await running.nothing_is_left()


async def test_a_stop_while_a_failed_term_is_given_up_waits_for_no_backoff(stage: Stage) -> None:
    release = Held(answer=True)

    async def fails(term: Term) -> None:
        raise ValueError("boom")

    running = await stage.run(fails, before=lambda one: one.store.plan("write", _first, _first, release, key=GRANT))
    await soon(release.reached.wait())
    stopping = asyncio.ensure_future(running.stop())
    await turns()
    assert not stopping.done(), "it stopped before the term was given up"
    release.let_go()
    await until(stopping.done, "the stop: it sleeps, for a run that nobody wants")
    await stopping
    assert running.house.clock.slept == []
    (event,) = running.house.events
    assert isinstance(event, ServiceFailed)
    assert event.retry_in is None
    await running.nothing_is_left()


async def test_a_stop_while_the_passive_body_is_ended_gives_back_what_was_won(stage: Stage) -> None:
    work, ending, go = Work(), asyncio.Event(), asyncio.Event()

    async def passive(standby: Standby) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await go.wait()

    running = await stage.run(work, passive)
    await soon(ending.wait())
    stopping = asyncio.ensure_future(running.stop())
    await turns()
    go.set()
    await soon(stopping)
    await running.nothing_is_left()


async def test_a_stop_before_its_first_step_is_harmless(stage: Stage) -> None:
    work = Work()
    running = await stage.run(work)
    await running.stop()
    await running.nothing_is_left()
    assert work.terms == []


async def test_a_body_that_would_not_stop_ends_the_process_and_nothing_is_released(stage: Stage) -> None:
    go, began = asyncio.Event(), asyncio.Event()

    async def stubborn(term: Term) -> None:
        began.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue

    running = await stage.run(stubborn, timeout=0.01)
    await soon(began.wait())
    try:
        with pytest.raises(StopTimeoutError, match="settlement did not stop"):
            await running.runner.stop("was stopped")
        assert running.house.failures[0][1] == exit_codes.WOULD_NOT_STOP
        assert (await running.grant()).holder is not None
    finally:
        go.set()


async def test_a_lost_body_that_would_not_stop_ends_the_process_though_the_session_lives(stage: Stage) -> None:
    """Its deadline passed and then beats were answered again: the keeper has no reason to kill any more (R5)."""
    go, began = asyncio.Event(), asyncio.Event()

    async def stubborn(term: Term) -> None:
        began.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue

    running = await stage.run(stubborn, timeout=0.01)
    await soon(began.wait())
    try:
        (await running.one.leases.lease()).miss("lost its lease: no answer from the store")
        await running.house.sees(lambda: running.house.failures)
        assert running.house.failures[0][1] == exit_codes.WOULD_NOT_STOP
        assert running.one.store.count("write", LINE) == 1, "it stands in line again while the lost body runs"
    finally:
        go.set()


async def test_an_error_while_it_is_stopped_is_logged_and_the_term_is_released(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work()
    running = await stage.run(work)
    await soon(work.began.wait())

    async def fail() -> None:
        raise ValueError("while ending")

    work.at_the_end = fail
    with caplog.at_level(logging.ERROR):
        await running.stop()
    assert "settlement failed while it ended" in caplog.text
    await running.nothing_is_left()


# -- ends that others ask for, and losses


async def test_an_end_that_is_asked_for_is_planned_and_it_stands_in_line_again(stage: Stage) -> None:
    work = Work()
    running = await stage.run(work)
    await soon(work.began.wait())
    work.terms[0].ask_to_resign("was asked to")
    await running.house.shows(Mode.ACTIVE, times=2)
    await until(lambda: len(work.terms) == 2, "the second term")
    assert work.ended == 1
    assert [term.token for term in work.terms] == [1, 2]
    assert work.terms[0].ended == "was asked to"
    assert running.house.events == []


async def test_a_lost_term_cancels_the_work_releases_nothing_and_ends_the_process(stage: Stage) -> None:
    work = Work()
    running = await stage.run(work)
    await soon(work.began.wait())
    writes = running.one.store.count("write", GRANT)
    running.one.leases.lose("fell silent")
    await running.house.sees(lambda: running.house.failures)
    assert running.house.failures == [("settlement: fell silent", exit_codes.FENCED)]
    assert work.ended == 1
    assert running.one.store.count("write", GRANT) == writes
    assert running.one.leases.armed == set()


async def test_the_process_does_not_end_before_the_lost_work_has(stage: Stage) -> None:
    work, go = Work(), asyncio.Event()
    running = await stage.run(work)
    await soon(work.began.wait())
    work.at_the_end = go.wait
    running.one.leases.lose("fell silent")
    await turns()
    assert running.house.failures == []
    assert running.one.leases.armed, "the kernel's timer stands as long as the body runs"
    go.set()
    await running.house.sees(lambda: running.house.failures)


# -- the passive body


async def test_the_passive_body_has_ended_before_the_active_one_begins(stage: Stage) -> None:
    steps: list[str] = []
    began = asyncio.Event()

    async def passive(standby: Standby) -> None:
        steps.append("passive began")
        try:
            await asyncio.Event().wait()
        finally:
            await turns(5)
            steps.append("passive ended")

    async def active(term: Term) -> None:
        steps.append("active began")
        began.set()
        await asyncio.Event().wait()

    await stage.run(active, passive)
    await soon(began.wait())
    assert steps == ["passive began", "passive ended", "active began"]


async def test_a_passive_body_that_fails_is_logged_and_keeps_nobody_from_working(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work()

    async def passive(standby: Standby) -> None:
        raise ValueError("cold cache")

    with caplog.at_level(logging.ERROR):
        await stage.run(work, passive)
        await soon(work.began.wait())
    assert "settlement failed in its passive body" in caplog.text
    assert "cold cache" in caplog.text


async def test_the_passive_body_is_asked_before_it_is_cancelled(stage: Stage) -> None:
    seen: list[tuple[bool, bool]] = []

    async def passive(standby: Standby) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append((standby.stopping, standby.deadline is not None))

    work = Work()
    await stage.run(work, passive)
    await soon(work.began.wait())
    assert seen == [(True, True)]


@pytest.mark.parametrize("sort", ["async", "plain"])
async def test_a_passive_body_that_would_not_end_ends_the_process_and_gives_back_what_was_won(
    stage: Stage, sort: str
) -> None:
    go = threading.Event()

    def stubborn(standby: blocking.Standby) -> None:
        go.wait()

    async def stubborn_async(standby: Standby) -> None:
        while not go.is_set():
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                continue

    work = Work()
    try:
        running = await stage.run(work, stubborn if sort == "plain" else stubborn_async, timeout=0.01)
        await running.house.sees(lambda: running.house.failures)
        assert running.house.failures == [("settlement did not stop within 0.01 s", exit_codes.WOULD_NOT_STOP)]
        assert work.terms == [], "an active body began beside it"
        async with asyncio.timeout(20):
            while (await running.grant()).holder is not None:  # noqa: ASYNC110 - the store tells nobody here
                await asyncio.sleep(0.002)
    finally:
        go.set()


async def test_a_stop_ends_the_passive_body(stage: Stage) -> None:
    work, ended, began = Work(), asyncio.Event(), asyncio.Event()

    async def passive(standby: Standby) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    await stage.run(work)
    await soon(work.began.wait())
    second = await stage.run(Work(), passive, name="web-2")
    await soon(began.wait())
    await second.stop()
    assert ended.is_set()


# -- hooks


async def test_hooks_are_called_before_the_line_and_after_the_release(stage: Stage) -> None:
    steps: list[str] = []

    class Settlement(ActivePassiveService):
        async def start(self) -> None:
            steps.append("start")

        async def run_active(self, term: Term) -> None:
            steps.append("active")
            work.began.set()
            await asyncio.Event().wait()

        async def close(self) -> None:
            steps.append(f"close, held: {(await running.grant()).holder is not None}")

    work, settlement = Work(), Settlement()
    running = await stage.run(settlement.run_active, hooks=settlement)
    await soon(work.began.wait())
    await running.stop()
    assert steps == ["start", "active", "close, held: False"]
    assert running.house.modes[-2:] == [Mode.STOPPING, Mode.STOPPED]
    stage._runners.clear()


async def test_a_service_that_does_not_say_what_it_does_is_told_so(stage: Stage) -> None:
    class Settlement(ActivePassiveService):
        pass

    running = await stage.run(Settlement().run_active)
    await running.house.shows(Mode.BACKOFF)
    (event,) = running.house.events
    assert isinstance(event, ServiceFailed)
    assert "Settlement must say what it does: override run_active" in str(event.error)


# -- in a thread


class Thread:
    """A plain body that the test watches and ends."""

    def __init__(self) -> None:
        self.began, self.go = threading.Event(), threading.Event()
        self.steps: list[str] = []

    def work(self, term: blocking.Term) -> None:
        self.began.set()
        for _ in term.every(0.001):
            self.steps.append("turn")
        self.steps.append(f"asked to end: {term.stopping}, is current: {term.is_current}")
        if not self.go.is_set():
            self.go.wait()
        self.steps.append("ended")
        term.check()


async def test_a_thread_is_asked_and_the_term_is_released_when_it_has_ended(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    thread = Thread()
    running = await stage.run(thread.work)
    await until(thread.began.is_set, "the thread")
    stopping = asyncio.ensure_future(running.runner.stop("was stopped"))
    await until(lambda: "turn" not in thread.steps[-1:], "its last turn")
    assert (await running.grant()).holder is not None, "it was released before the thread had ended"
    with caplog.at_level(logging.ERROR):
        thread.go.set()
        await soon(stopping)
    assert thread.steps[-2:] == ["asked to end: True, is current: True", "ended"], "who listens may finish"
    await running.nothing_is_left()
    grant = await running.grant()
    assert grant.past is not None
    assert grant.past.why == "was stopped"
    assert caplog.text == "", "a body that checks, and is told of its end, has not failed"


async def test_a_thread_that_would_not_stop_ends_the_process_and_nothing_is_released(stage: Stage) -> None:
    thread = Thread()
    running = await stage.run(thread.work, timeout=0.01)
    await until(thread.began.is_set, "the thread")
    try:
        with pytest.raises(StopTimeoutError, match="settlement did not stop"):
            await running.runner.stop("was stopped")
        assert running.house.failures[0][1] == exit_codes.WOULD_NOT_STOP
        assert (await running.grant()).holder is not None
    finally:
        thread.go.set()


async def test_a_thread_whose_term_is_lost_is_waited_for_before_the_process_ends(stage: Stage) -> None:
    go, began = threading.Event(), threading.Event()

    def body(term: blocking.Term) -> None:
        began.set()
        try:
            term.sleep(3600)
        finally:
            go.wait()

    running = await stage.run(body)
    await until(began.is_set, "the thread")
    running.one.leases.lose("lost its session")
    await turns()
    assert running.house.failures == [], "the thread was forgotten"
    assert running.one.leases.armed, "the kernel's timer must stand as long as the thread is there"
    go.set()
    await running.house.sees(lambda: running.house.failures)
    assert running.house.failures[0][1] == exit_codes.FENCED
    assert running.one.leases.armed == set()


async def test_an_error_in_a_thread_gives_the_term_up_with_the_reason(stage: Stage) -> None:
    def fails(term: blocking.Term) -> None:
        raise ValueError(f"boom {term.token}")

    running = await stage.run(fails)
    await running.house.shows(Mode.BACKOFF)
    grant = await running.grant()
    assert grant.past is not None
    assert grant.past.why == "raised ValueError: boom 1"


# -- what listens ends by itself, and policies


async def test_a_body_that_listens_finishes_under_a_term_that_is_still_current(stage: Stage) -> None:
    went_on, go = asyncio.Event(), asyncio.Event()
    current: list[bool] = []

    async def work(term: Term) -> None:
        async for _ in term.every(0.001):
            await asyncio.sleep(0)
        went_on.set()
        await go.wait()
        current.append(term.is_current)

    running = await stage.run(work)
    await running.house.shows(Mode.ACTIVE)
    await turns()
    stopping = asyncio.ensure_future(running.runner.stop("was stopped"))
    await soon(went_on.wait())
    assert (await running.grant()).holder is not None
    go.set()
    await soon(stopping)
    assert current == [True]
    await running.nothing_is_left()


async def test_a_body_that_listens_and_does_not_end_is_cancelled_after_its_writes_are_refused(stage: Stage) -> None:
    ends: list[str] = []

    async def work(term: Term) -> None:
        assert not term.stopping
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ends.append(f"cancelled, current: {term.is_current}")
            raise

    running = await stage.run(work)
    await running.house.shows(Mode.ACTIVE)
    await turns()
    stopping = asyncio.ensure_future(running.runner.stop("was stopped"))
    await turns()
    assert ends == [], "it has time"
    running.runner.hurry()
    await soon(stopping)
    assert ends == ["cancelled, current: False"]


async def test_a_body_that_only_looks_whether_its_term_is_current_is_not_waited_for(stage: Stage) -> None:
    async def work(term: Term) -> None:
        while term.is_current:
            await term.sleep(1)

    running = await stage.run(work, timeout=3600)
    await running.house.shows(Mode.ACTIVE)
    await turns()
    await running.stop()
    await running.nothing_is_left()


async def test_a_term_that_is_lost_while_its_body_ends_by_itself_is_lost(stage: Stage) -> None:
    ended = asyncio.Event()

    async def work(term: Term) -> None:
        assert not term.stopping
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    running = await stage.run(work)
    await running.house.shows(Mode.ACTIVE)
    await turns()
    stopping = asyncio.ensure_future(running.runner.stop("was stopped"))
    await turns()
    assert not ended.is_set()
    running.one.leases.lose("was cut off")
    await soon(ended.wait())
    await soon(stopping)
    assert running.house.failures[-1][1] == exit_codes.FENCED


async def test_one_that_is_never_to_be_run_again_gives_its_term_up_and_stands_in_no_line(stage: Stage) -> None:
    async def fails(term: Term) -> None:
        raise ValueError("boom")

    running = await stage.run(fails, restart=Restart(when="never"))
    await running.house.shows(Mode.FAILED)
    assert (await running.grant()).holder is None
    assert (await running.one.store.list(LINE)).records == []
    assert [str(error) for error in running.house.overs] == ["boom"]


async def test_one_that_fails_too_often_stands_in_no_line_any_more_and_is_its_hosts_to_judge(stage: Stage) -> None:
    async def fails(term: Term) -> None:
        raise ValueError("boom")

    running = await stage.run(fails, restart=Restart(most=0))
    await running.house.shows(Mode.FAILED)
    (crash,) = running.house.overs
    assert isinstance(crash, CrashLoopError)
    assert (await running.grant()).holder is None


async def test_a_passive_body_that_fails_is_told_of_at_once_and_run_again(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[str] = []

    async def passive(standby: Standby) -> None:
        runs.append("run")
        if len(runs) == 1:
            raise ValueError("cold")
        await asyncio.Event().wait()

    first = await stage.run(Work())
    await first.house.shows(Mode.ACTIVE)
    second = await stage.run(Work(), passive, name="web-2")
    await second.house.sees(lambda: second.house.events)
    async with asyncio.timeout(20):
        while len(runs) < 2:  # noqa: ASYNC110 - a pause of real time
            await asyncio.sleep(0.01)
    assert "settlement failed in its passive body" in caplog.text


@pytest.mark.parametrize("who", ["passive", "nobody"])
async def test_a_passive_instance_is_ready_when_its_passive_body_says_so_or_there_is_none(
    stage: Stage, who: str
) -> None:
    go = asyncio.Event()

    async def passive(standby: Standby) -> None:
        await go.wait()
        standby.ready()
        await asyncio.Event().wait()

    first = await stage.run(Work())
    await first.house.shows(Mode.ACTIVE)
    second = await stage.run(Work(), passive if who == "passive" else None, name="web-2", says_ready=True)
    await turns()
    assert second.runner.is_ready == (who == "nobody")
    go.set()
    await soon(second.runner.until_ready())
