"""Keeping sessions for a charge: when its bodies are ended, and when the timers stand (R5, R6, R19)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from locum.clock import Clock, nanoseconds
from locum.floor import Floor
from locum.keeper.cell import Cell
from locum.keeper.keeping import Keeping
from locum.keeper.leases import Leases
from locum.keeper.memory import Memory
from locum.keeper.owner import Ending, Owner
from locum.scopes import Scope
from locum.telemetry import Event, Events, StoreLost, StoreRestored
from locum.testing.faults import FaultyStore, answer_lost, refused
from locum.testing.instances import owner_named
from tests.unit.kit import opened, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.keeper.session import Loss, Session
    from locum.keeper.timer import KillTimer
    from locum.store import Seen

TTL = 1.0


class Timer:
    """A kernel's timer that only notes how it is set."""

    def __init__(self) -> None:
        self.armed_at: int | None = None
        self.notes: list[int | None] = []

    def arm(self, instant: int) -> None:
        assert self.armed_at is None or instant >= self.armed_at
        self.armed_at = instant
        self.notes.append(instant)

    def disarm(self) -> None:
        self.armed_at = None
        self.notes.append(None)


class Works:
    """A charge that notes what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.sessions: list[Session] = []
        self.seen: list[Seen] = []
        self.beats = self.deadlines = 0
        self.losses: list[Loss] = []
        self.bodies_ended = asyncio.Event()
        self.bodies_ended.set()

    def may_beat(self) -> bool:
        return True

    def opened(self, session: Session, generation: int, seen: Seen) -> None:
        self.notes.append(f"opened {generation}")
        self.sessions.append(session)
        self.seen.append(seen)

    def beaten(self) -> None:
        self.beats += 1

    def overdue(self) -> None:
        self.deadlines += 1

    async def end_bodies(self, loss: Loss) -> None:
        self.notes.append("end bodies")
        self.losses.append(loss)
        await self.bodies_ended.wait()

    def lost(self, why: str) -> None:
        self.notes.append("lost")

    def joined(self, owner: Owner) -> None:
        self.notes.append(f"{owner.name} joined")

    def gone(self, owner: Owner, why: str) -> None:
        self.notes.append(f"{owner.name} gone")


class Stage:
    """A keeping over a real store."""

    def __init__(self, store: FaultyStore, scope: Scope) -> None:
        self.store, self.works, self.timer, self.cell, self.memory = store, Works(), Timer(), Cell(), Memory(3)
        timer: KillTimer = self.timer  # type: ignore[assignment]  # it is set, and kills nobody
        self.keeping = Keeping(
            self.works,
            "web-1",
            cell=self.cell,
            clock=Clock(),
            timer=timer,
            memory=self.memory,
        )
        scope.spawn(self.keeping.keep(store, owner_named("web-1"), nanoseconds(TTL)), name="keep")

    async def has(self, note: str) -> None:
        await until(lambda: note in self.works.notes, note)

    async def beats(self) -> None:
        before = self.works.beats
        await until(lambda: self.works.beats > before, "a beat")

    async def is_closed(self, number: int) -> bool:
        session = self.works.sessions[number].id
        return (await self.store.sessions([session])).by_id[session].is_closed


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with opened(tmp_path / "store.db", call_timeout=TTL / 6) as store:
        async with Scope("test") as scope:
            made = Stage(store, scope)
            await made.has("opened 1")
            yield made
        made.keeping.disarm_all()
        made.keeping.close()


async def test_the_timers_stand_while_a_body_runs_and_move_with_each_beat(stage: Stage) -> None:
    await stage.beats()
    assert stage.timer.notes == [], "no body, no timer"
    assert stage.keeping.arm(1, 1, 5)
    assert stage.keeping.arm(2, 1, 4)
    assert stage.timer.notes[-1] == stage.cell.kill_at
    first = stage.cell.kill_at
    await stage.beats()
    await stage.beats()
    assert stage.timer.armed_at == stage.cell.kill_at > first
    stage.keeping.disarm(1)
    assert None not in stage.timer.notes
    stage.keeping.disarm(2)
    assert stage.timer.notes.count(None) == 1
    assert stage.memory.token == 5


async def test_only_the_session_that_is_there_can_be_armed(stage: Stage) -> None:
    assert not stage.keeping.arm(1, 0, 1)
    assert not stage.keeping.arm(1, 2, 1)
    assert not stage.keeping.has_bodies
    assert stage.timer.notes == []


async def test_a_loss_without_bodies_ends_nobody(stage: Stage) -> None:
    stage.store.always("beat", refused)
    await stage.has("opened 2")
    assert stage.works.notes == ["opened 1", "lost", "opened 2"]
    assert await stage.is_closed(0)
    assert stage.works.seen[0].incarnation == stage.works.seen[1].incarnation


async def test_bodies_have_ended_before_the_session_is_closed_and_another_opened(stage: Stage) -> None:
    stage.works.bodies_ended.clear()
    assert stage.keeping.arm(1, 1, 9)
    stage.store.always("beat", refused)
    await stage.has("end bodies")
    assert stage.cell.generation == 0, "nothing is current any more"
    assert stage.works.deadlines == 1, "at 80 % it was told that a body still runs"
    assert not await stage.is_closed(0)
    stage.works.bodies_ended.set()
    await stage.has("opened 2")
    assert stage.works.notes == ["opened 1", "end bodies", "lost", "opened 2"]
    assert not stage.works.losses[0].certain
    assert not stage.keeping.has_bodies
    assert stage.memory.token == 9


async def test_a_term_that_met_its_deadline_drains_and_is_not_current_again(stage: Stage) -> None:
    assert stage.keeping.arm(1, 1, 1)
    stage.store.always("beat", refused)
    await until(lambda: Clock().now() >= stage.cell.cancel_at, "60 %")
    met, kill_at = stage.cell.cancel_at, stage.cell.kill_at
    stage.store.always("beat", None)
    await until(lambda: stage.cell.kill_at > kill_at, "an answered beat")
    assert stage.cell.cancel_at == met, "a later answer moves only the kill (R5)"
    stage.keeping.disarm(1)
    await until(lambda: stage.cell.cancel_at > met, "a lease for the terms that begin now")


async def test_one_that_is_given_up_ends_its_session_though_it_is_not_armed_any_more(stage: Stage) -> None:
    assert stage.keeping.arm(1, 1, 1)
    stage.keeping.forsake(1, "did not stop")
    stage.keeping.disarm(1)
    await stage.has("opened 2")
    assert stage.works.notes == ["opened 1", "end bodies", "lost", "opened 2"]
    assert stage.works.losses[0].why == "did not stop"
    assert await stage.is_closed(0)


async def test_only_the_session_that_is_there_can_be_given_up(stage: Stage) -> None:
    stage.keeping.forsake(1, "did not stop")
    stage.keeping.forsake(1, "did not stop either")
    await stage.has("opened 2")
    stage.keeping.forsake(1, "late")
    await stage.beats()
    assert stage.works.notes[-1] == "opened 2"
    assert [loss.why for loss in stage.works.losses] == ["did not stop"]


async def test_bodies_that_end_are_waited_for_until_an_instant(stage: Stage) -> None:
    assert await stage.keeping.bodies_end(by=0), "there is none"
    assert stage.keeping.arm(1, 1, 1)
    assert not await stage.keeping.bodies_end(by=Clock().now() + 1000)
    waiting = asyncio.create_task(stage.keeping.bodies_end(by=Clock().now() + nanoseconds(20)))
    await asyncio.sleep(0)
    stage.keeping.disarm(1)
    assert await waiting


async def test_a_store_that_was_exchanged_while_it_did_not_answer_is_told_of(
    stage: Stage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage.store.always("beat", refused)
    async with opened(tmp_path / "store.db") as other:
        await other.renew(max_ttl=1)
    await stage.has("opened 2")
    assert "is not the one that this process has worked with: it was exchanged meanwhile" in caplog.text


async def test_no_token_falls_though_the_answer_to_the_adoption_was_lost(stage: Stage, tmp_path: Path) -> None:
    assert stage.keeping.arm(1, 1, 9)
    stage.keeping.disarm(1)
    stage.store.always("adopt", answer_lost)
    stage.store.always("beat", refused)
    async with opened(tmp_path / "store.db") as other:
        begun = (await other.renew(max_ttl=1)).incarnation
    await until(lambda: stage.store.seen is not None and stage.store.seen.incarnation == begun, "the adoption")
    stage.store.always("adopt", None)
    await stage.has("opened 2")
    assert (await Floor.read(stage.store)).token == 9


async def test_other_instances_are_told_of(stage: Stage, tmp_path: Path) -> None:
    await stage.store.open_session(owner_named("web-2").to_bytes(), nanoseconds(60), "a" * 32)
    await stage.has("web-2 joined")
    await stage.store.close_session("a" * 32, reason=Ending("stopped").to_bytes())
    await stage.has("web-2 gone")


# -- the leases that the charge has of it


@asynccontextmanager
async def leases() -> AsyncIterator[tuple[Leases, Cell, list[Event]]]:
    cell, told = Cell(), list[Event]()
    async with Scope("test") as scope:
        events = Events("web-1", lambda work, name: scope.spawn(work, name=name))
        events.on(Event, told.append)
        made = Leases(cell, clock=Clock(), scope=scope, events=events)
        yield made, cell, told
        made.dispose()


def begin(made: Leases, cell: Cell, generation: int, *, left: float = 60.0) -> None:
    from locum.keeper.budget import Budget

    budget, now = Budget.of_seconds(TTL), Clock().now()
    cell.begin(generation, now + nanoseconds(left), now + nanoseconds(left + 1))
    made.begin(f"session-{generation}", generation, budget, owner_named("web-1"), None)


async def test_a_lease_is_waited_for() -> None:
    async with leases() as (made, cell, _):
        waiting = asyncio.create_task(made.lease())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            _ = made.owner
        begin(made, cell, 1)
        assert (await waiting).session == "session-1"
        assert made.owner.name == "web-1"
        await until(lambda: cell.turned_at, "the loop's turn")


async def test_a_deadline_without_an_answer_misses_the_terms_and_not_the_session() -> None:
    async with leases() as (made, cell, told):
        begin(made, cell, 1, left=0.05)
        lease = await made.lease()
        whys: list[str] = []
        lease.on_end(whys.append)
        await until(lambda: whys, "the deadline")
        assert "no answer from the store for 0.6 s" in whys[0]
        assert not lease.is_lost
        assert await made.lease() is lease
        assert told == []


async def test_a_beat_before_the_deadline_moves_the_alarm() -> None:
    async with leases() as (made, cell, _):
        begin(made, cell, 1, left=0.05)
        whys: list[str] = []
        (await made.lease()).on_end(whys.append)
        cell.advance(Clock().now() + nanoseconds(0.2), 0)
        await asyncio.sleep(0.1)
        assert whys == []
        await until(lambda: whys, "the later deadline")


async def test_a_loss_is_told_once_and_a_later_session_as_restored() -> None:
    async with leases() as (made, cell, told):
        begin(made, cell, 1)
        lease = await made.lease()
        made.lose("lost its session: somebody closed it")
        made.lose("lost its session: and again")
        assert lease.loss == "lost its session: somebody closed it"
        begin(made, cell, 2)
        assert [type(event) for event in told] == [StoreLost, StoreRestored]


async def test_an_end_for_good_is_an_error_for_whoever_waits_now_or_later() -> None:
    async with leases() as (made, _cell, _):
        waiting = asyncio.create_task(made.lease())
        await asyncio.sleep(0)
        made.finish(LookupError("no more"), "was stopped")
        for one in (waiting, made.lease()):
            with pytest.raises(LookupError, match="no more"):
                await one
