"""S03, S05: answers that do not come: what is told is the truth, or that it is not known; and it is found out."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from locum.errors import NotPrimaryError, OutcomeUnknownError, StaleTermError, StoreUnavailableError
from locum.state import checkpointing
from locum.state.database import opened
from tests.unit.state.lossy import lossy
from tests.unit.state.test_checkpoints import checkpoint
from tests.unit.state.test_state import _LONG, add, error_of, state

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.state.state import State
    from locum.state.transaction import Transaction
    from tests.unit.state.lossy import Lossy

_SHORT = 0.2


@asynccontextmanager
async def behind(url: str, **options: Any) -> AsyncIterator[tuple[State, Lossy, State]]:
    """A primary behind a bad network, that network, and a secondary with a good one."""
    async with (
        lossy(url) as (there, network),
        opened(url, namespace="billing", timeout=30) as here,
        state(there, **options) as one,
        state(here) as other,
    ):
        await one.promote(1)
        yield one, network, other


async def set_to_10(state: State) -> tuple[Exception | None, Transaction]:
    """Have `a` be 10, or not; what is raised in that case."""
    begun: list[Transaction] = []

    async def work() -> None:
        async with state.transaction(timeout=_SHORT) as tx:
            begun.append(tx)
            await state.dictionary("counts").set(tx, "a", 10)

    return await error_of(work()), begun[0]


@pytest.mark.parametrize(
    "faults", [["lost"], ["stuck"], ["stuck", "lost"], ["lost", "stuck"], ["late"], ["late", "lost"]]
)
async def test_s03_an_answer_that_is_lost_is_found_out(url: str, faults: list[str]) -> None:
    async with behind(url) as (one, network, other):
        await add(one, "a")
        network.next = [*faults]
        assert await add(one, "a", timeout=_LONG) == 2
        position = one.position
        await network.deliver()
        assert await add(one, "a", timeout=_LONG) == 3
        assert one.position == position + 1
        await other.promote(2)
        assert other.dictionary("counts").read("a") == 3


@pytest.mark.parametrize("fault", ["lost", "stuck", "late"])
async def test_s05_what_is_not_known_in_time_is_known_later_and_nobody_builds_on_it(url: str, fault: str) -> None:
    async with behind(url) as (one, network, _):
        await add(one, "a")
        network.next = [fault, *["stuck"] * 1000]
        error, tx = await set_to_10(one)
        assert isinstance(error, OutcomeUnknownError)
        following = asyncio.ensure_future(add(one, "a", timeout=_LONG))
        await asyncio.sleep(_SHORT)
        assert not following.done(), "the key is not free before it is known"
        network.is_away, network.next = False, []
        assert await tx.settled()
        assert await following == 11


async def test_s05_what_was_not_sent_in_time_is_not_done_later(url: str) -> None:
    async with behind(url) as (one, network, _):
        network.is_away = True
        for _ in range(3):
            with pytest.raises(StoreUnavailableError):
                await add(one, "a", timeout=_SHORT)
        network.is_away = False
        assert await add(one, "a", timeout=_LONG) == 1
        assert one.position == 1


@pytest.mark.parametrize(("fault", "is_there"), [("lost", True), ("stuck", False), ("late", False)])
async def test_s03_a_later_primary_has_it_or_it_never_comes(url: str, fault: str, is_there: bool) -> None:
    """The first primary does not hear anything any more, while another one takes over."""
    refused: list[Exception] = []
    async with behind(url, on_refused=refused.append) as (one, network, other):
        await add(one, "a")
        network.next = [fault, *["stuck"] * 1000]
        error, tx = await set_to_10(one)
        assert isinstance(error, OutcomeUnknownError)
        network.is_away = True
        await other.promote(2)
        assert other.dictionary("counts").read("a") == (10 if is_there else 1)
        await network.deliver()
        assert await add(other, "a") == (11 if is_there else 2)
        network.is_away, network.next = False, []
        assert await tx.settled() is is_there
        if not is_there:
            async with asyncio.timeout(_LONG):
                while not refused:  # noqa: ASYNC110 - told from within
                    await asyncio.sleep(0.01)
            assert [type(error) for error in refused] == [StaleTermError]
        with pytest.raises((StaleTermError, NotPrimaryError)):
            await add(one, "a", timeout=_LONG)
        await one.demote()
        async with asyncio.timeout(_LONG):
            await one.caught_up(other.position)
        assert one.dictionary("counts").read("a") == other.dictionary("counts").read("a")


@pytest.mark.parametrize(("fault", "is_there"), [("lost", True), ("stuck", False)])
async def test_s03_a_demotion_while_a_commit_is_on_its_way(
    url: str, fault: str, is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("locum.state.state.LIMIT", _SHORT)
    async with behind(url) as (one, network, other):
        await add(one, "a")
        network.next = [fault, *["stuck"] * 1000]
        tx = one.transaction(timeout=_LONG)
        entered = await tx.__aenter__()
        await one.dictionary("counts").set(entered, "a", 10)
        leaving = asyncio.ensure_future(tx.__aexit__(None, None, None))
        await asyncio.sleep(_SHORT / 4)
        one.revoke()
        with pytest.raises(NotPrimaryError):
            await add(one, "b")
        await one.demote()
        assert not leaving.done(), "it is on its way"
        await other.promote(2)
        if is_there:
            await leaving
        else:
            with pytest.raises(StaleTermError):
                await leaving
        assert other.dictionary("counts").read("a") == (10 if is_there else 1)
        async with asyncio.timeout(_LONG):
            await one.caught_up(other.position)
        assert one.dictionary("counts").read("a") == (10 if is_there else 1)


async def test_s03_what_was_truncated_cannot_be_told_any_more(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpointing, "_DUE", 5)
    monkeypatch.setattr(checkpointing, "_KEPT", 1)
    async with behind(url) as (one, network, other):
        network.next = ["lost", *["stuck"] * 1000]
        _, tx = await set_to_10(one)
        network.is_away = True
        await other.promote(2)
        for _ in range(10):
            await add(other, "b")
        await checkpoint(other, 6)
        network.is_away, network.next = False, []
        with pytest.raises(OutcomeUnknownError, match="truncated"):
            await tx.settled()


async def test_s03_what_waits_is_not_sent_after_a_revocation(url: str) -> None:
    async with behind(url) as (one, network, other):
        network.gate.clear()
        sent = asyncio.ensure_future(add(one, "a"))
        await asyncio.sleep(_SHORT / 4)
        waiting = asyncio.ensure_future(error_of(add(one, "b")))
        await asyncio.sleep(_SHORT / 4)
        one.revoke()
        assert isinstance(await waiting, NotPrimaryError)
        network.gate.set()
        assert await sent == 1
        await asyncio.sleep(_SHORT / 4)
        await one.demote()
        await other.promote(2)
        assert dict(other.dictionary("counts").items()) == {"a": 1}


async def test_s02_who_is_promoted_has_read_all_that_was_acknowledged_until_the_fence_rose(url: str) -> None:
    async with lossy(url) as (here, network), behind(url) as (old, _, _), state(here) as new:
        await add(old, "a")
        network.gate.clear()
        promoting = asyncio.ensure_future(new.promote(2))
        await asyncio.sleep(_SHORT)
        assert await add(old, "a") == 2
        network.gate.set()
        await promoting
        assert new.dictionary("counts").read("a") == 2
        assert isinstance(await error_of(add(old, "a")), StaleTermError)


async def test_s03_a_demotion_while_nothing_answers(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locum.state.state.LIMIT", _SHORT)
    async with behind(url) as (one, network, other):
        network.gate.clear()
        sent = asyncio.ensure_future(error_of(add(one, "a", timeout=_LONG)))
        await asyncio.sleep(_SHORT / 4)
        await one.demote()
        assert not sent.done(), "it may be in the log, or come there"
        await other.promote(2)
        assert isinstance(await sent, StaleTermError)


async def test_s03_a_close_while_nothing_answers(url: str) -> None:
    async with behind(url) as (one, network, _):
        network.gate.clear()
        sent = asyncio.ensure_future(error_of(add(one, "a", timeout=_LONG)))
        await asyncio.sleep(_SHORT / 4)
        await one.close()
        assert isinstance(await sent, OutcomeUnknownError)
        network.gate.set()
