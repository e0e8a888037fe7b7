"""One session: numbers that only grow, a lease counted from before each sending, and how it is lost (R3 to R5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from locum.clock import seconds
from locum.keeper.budget import Budget
from locum.keeper.owner import Ending
from locum.keeper.session import Loss, Session
from locum.testing.faults import FaultyStore, answer_lost, passes, refused, request_lost
from locum.testing.instances import owner_named
from tests.unit.kit import ManualClock, opened, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

TTL = 6 * 10**9


class Kept:
    """A session under a clock that goes when told to."""

    def __init__(self, store: FaultyStore, clock: ManualClock, ttl: int = TTL) -> None:
        self.store, self.clock = store, clock
        self.acknowledged: list[int] = []
        self.told: list[str] = []
        self.may_beat: Callable[[], bool] = lambda: True
        self.session = Session(
            store,
            owner_named("web-1"),
            ttl,
            clock=clock,
            may_beat=lambda: self.may_beat(),
            acknowledged=lambda budget, sent: self.acknowledged.append(sent),
        )

    async def open(self) -> None:
        await soon(self.session.open(told=self.told.append))

    async def keep(self) -> Loss:
        return await soon(self.session.keep())

    def passing(self, part: float, then: Any = passes, *, before: bool = False) -> Any:
        """A fault: so much of the TTL passes while the answer (or the request) is on its way."""

        async def fault(call: Callable[[], Awaitable[Any]]) -> Any:
            if before:
                self.clock.pass_by(part * seconds(TTL))
                return await then(call)
            result = await then(call)
            self.clock.pass_by(part * seconds(TTL))
            return result

        return fault

    def closing(self, reason: bytes = b"enough") -> Any:
        """A fault: somebody closes the session before the call."""

        async def fault(call: Callable[[], Awaitable[Any]]) -> Any:
            await self.store.close_session(self.session.id, reason=reason)
            return await call()

        return fault

    @property
    def numbers(self) -> list[int]:
        return [number for name, number in self.store.calls if name == "beat" and isinstance(number, int)]

    @property
    def ids(self) -> list[object]:
        return [what for name, what in self.store.calls if name == "open_session"]


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    clock = ManualClock()
    async with opened(tmp_path / "store.db", clock=clock) as store:
        yield Kept(store, clock)


async def status_of(kept: Kept, session_id: object) -> Any:
    return (await kept.store.sessions([str(session_id)])).by_id[str(session_id)]


# -- opening


async def test_an_opened_session_is_open_in_the_store_under_its_owner(kept: Kept) -> None:
    await kept.open()
    status = await status_of(kept, kept.session.id)
    assert status.is_open
    assert status.owner == owner_named("web-1").to_bytes()
    assert kept.session.incarnation


@pytest.mark.parametrize("fault", [request_lost, answer_lost, refused])
async def test_an_opening_that_is_sent_again_counts_from_the_first_sending(kept: Kept, fault: Any) -> None:
    first = kept.clock.now()
    kept.store.plan("open_session", kept.passing(0.1, before=True, then=fault), kept.passing(0.1, before=True))
    await kept.open()
    assert kept.session.sent == first
    assert len(kept.ids) == 2
    assert len(set(kept.ids)) == 1, "the same opening, sent again"
    assert kept.told, "whoever waits is told why"


async def test_an_id_whose_first_sending_is_too_old_is_not_opened_any_more(kept: Kept) -> None:
    kept.store.plan("open_session", kept.passing(0.9, before=True, then=answer_lost))
    begun = kept.clock.now()
    await kept.open()
    old, new = kept.ids
    assert kept.session.id == new != old
    assert kept.session.sent >= begun + Budget.of(TTL).kill_at(0)


async def test_an_opening_that_is_answered_late_is_closed_and_another_one_opened(kept: Kept) -> None:
    kept.store.plan("open_session", kept.passing(0.6))
    await kept.open()
    late, good = kept.ids
    assert (await status_of(kept, late)).is_closed
    assert (await status_of(kept, good)).is_open
    assert kept.session.id == good
    assert kept.clock.now() < kept.session.budget.cancel_at(kept.session.sent)


async def test_an_opening_that_somebody_closed_meanwhile_begins_again_under_another_id(kept: Kept) -> None:
    kept.store.plan("open_session", answer_lost, kept.closing())
    await kept.open()
    assert kept.session.id == kept.ids[-1] != kept.ids[0]
    assert (await status_of(kept, kept.session.id)).is_open


async def test_the_budget_is_that_of_the_granted_ttl(tmp_path: Path) -> None:
    clock = ManualClock()
    async with opened(tmp_path / "store.db", clock=clock) as store:
        kept = Kept(store, clock, ttl=10**8)
        await kept.open()
        assert kept.session.budget == Budget.of(5 * 10**8), "SQLite grants half a second at least"


# -- beating


async def test_every_sending_has_a_larger_number_retries_too(kept: Kept) -> None:
    await kept.open()
    kept.store.plan("beat", passes, request_lost, answer_lost, refused, passes, kept.closing())
    await kept.keep()
    assert len(kept.numbers) == 6
    assert kept.numbers == sorted(set(kept.numbers))


async def test_numbers_grow_even_if_the_clock_does_not(kept: Kept) -> None:
    await kept.open()

    async def back(call: Callable[[], Awaitable[Any]]) -> Any:
        kept.clock.pass_by(-seconds(kept.session.budget.beat))
        return await request_lost(call)

    kept.store.plan("beat", back, back, back, kept.closing())
    await kept.keep()
    assert len(kept.numbers) == 4
    assert kept.numbers == sorted(set(kept.numbers))


@pytest.mark.parametrize("before", [True, False])
async def test_the_lease_counts_from_before_the_sending(kept: Kept, before: bool) -> None:
    await kept.open()
    opened_at = kept.session.sent
    kept.store.plan("beat", kept.passing(0.3, before=before), kept.closing())
    await kept.keep()
    due = opened_at + kept.session.budget.beat
    assert kept.acknowledged == [due]
    assert kept.session.sent == due


async def test_a_retry_counts_from_its_own_sending(kept: Kept) -> None:
    await kept.open()
    kept.store.plan("beat", kept.passing(0.1, then=answer_lost), kept.passing(0.1), kept.closing())
    await kept.keep()
    assert kept.acknowledged == [kept.numbers[1]], "the number is the clock's reading before the sending"


async def test_no_beat_without_the_worker(kept: Kept) -> None:
    await kept.open()
    asked: list[int] = []

    def stopped_thrice() -> bool:
        asked.append(kept.store.count("beat"))
        return len(asked) > 3

    kept.may_beat = stopped_thrice
    kept.store.plan("beat", kept.closing())
    await kept.keep()
    assert asked == [0, 0, 0, 0]
    assert kept.store.count("beat") == 1


async def test_a_worker_that_stays_stopped_costs_the_session(kept: Kept) -> None:
    await kept.open()
    kept.may_beat = lambda: False
    loss = await kept.keep()
    assert not loss.certain
    assert kept.store.count("beat") == 0
    assert kept.clock.now() >= kept.session.budget.kill_at(kept.session.sent)


# -- losing


async def test_a_closed_session_is_lost_for_certain_with_the_reason_of_its_tombstone(kept: Kept) -> None:
    await kept.open()
    kept.store.plan("beat", kept.closing(Ending("fell silent for 6.0 s").to_bytes()))
    assert await kept.keep() == Loss("fell silent for 6.0 s", certain=True)
    assert kept.acknowledged == []


async def test_a_twin_is_a_certain_loss(kept: Kept) -> None:
    await kept.open()
    await kept.store.beat(kept.session.id, kept.clock.now() * 2)
    loss = await kept.keep()
    assert loss.certain
    assert kept.acknowledged == []


async def test_an_answer_after_the_kill_deadline_revives_nothing(kept: Kept) -> None:
    await kept.open()
    kept.store.plan("beat", kept.passing(0.85))
    loss = await kept.keep()
    assert not loss.certain
    assert kept.acknowledged == []


async def test_an_answer_just_before_the_kill_deadline_counts(kept: Kept) -> None:
    await kept.open()
    sent = kept.session.sent
    left = kept.session.budget.kill_at(sent) - sent - kept.session.budget.beat

    async def late(call: Callable[[], Awaitable[Any]]) -> None:
        await call()
        kept.clock.instant += left - 1

    kept.store.plan("beat", late, kept.closing())
    await kept.keep()
    assert len(kept.acknowledged) == 1


@pytest.mark.parametrize("fault", [request_lost, answer_lost, refused])
async def test_without_an_answer_the_session_is_lost_at_the_kill_deadline(kept: Kept, fault: Any) -> None:
    await kept.open()
    kept.store.always("beat", fault)
    loss = await kept.keep()
    assert not loss.certain
    assert "no answer from the store" in loss.why
    assert kept.clock.now() >= kept.session.budget.kill_at(kept.session.sent)
    assert all(number < kept.session.budget.kill_at(kept.session.sent) for number in kept.numbers)


# -- closing


async def test_a_close_is_repeated_until_it_is_answered(kept: Kept) -> None:
    await kept.open()
    kept.store.plan("close_session", request_lost, refused, answer_lost)
    assert await soon(kept.session.close(Ending("was stopped")))
    assert kept.store.count("close_session") == 4
    status = await status_of(kept, kept.session.id)
    assert status.is_closed
    assert Ending.from_bytes(status.reason).why == "was stopped"


async def test_a_close_with_patience_leaves_the_rest_to_the_others(kept: Kept) -> None:
    await kept.open()
    kept.store.always("close_session", refused)
    assert not await soon(kept.session.close(Ending("was stopped"), patience=1.0))
    assert (await status_of(kept, kept.session.id)).is_open
