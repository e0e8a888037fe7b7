"""A candidate whose own session died on its way in: it stands in line again, and never reports that it won (R5, R15).

In every order of the two events, "the session is closed" and "it is its turn".
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from locum.coordination.grant import Grant, grant_key
from locum.coordination.line import line_prefix
from locum.store import ABSENT
from locum.telemetry import TermStarted
from locum.testing.faults import Held
from locum.testing.instances import Instance
from tests.unit.kit import LONG, instance, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.coordination.term import Term
    from locum.keeper.lease import Lease

SCOPE = "election/settlement"
GRANT = grant_key(SCOPE)
LINE = line_prefix(SCOPE)

BEFORE_THE_TAKE = {
    "its entry is on its way": ("write", LINE, False),
    "its entry stands": ("write", LINE, True),
    "it reads the grant": ("read", GRANT, False),
    "it has read that the grant is free": ("read", GRANT, True),
    "it lists the line": ("list", LINE, False),
    "it has read that it is the first": ("list", LINE, True),
    "it has read the floor": ("read", "floor", True),
    "its take is on its way": ("write", GRANT, False),
}
KNOWS = pytest.mark.parametrize("knows", [True, False], ids=["its keeper knows", "nobody knows"])


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Instance]:
    async with instance(tmp_path / "store.db", "web-1") as made:
        yield made


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Instance]:
    async with instance(tmp_path / "store.db", "web-2") as made:
        yield made


async def close(one: Instance, lease: Lease, *, knows: bool, silent: bool) -> None:
    """Its session is closed, by one that watched it fall silent or (a violation of the rules) while it was not."""
    if silent:
        one.leases.cell.begin(lease.generation, 1, 1)  # all its deadlines have passed, long before anyone may close it
    await one.store.close_session(lease.session, reason=b"fell silent")
    if knows:
        one.leases.lose("fell silent")


async def stands_in_line_again(one: Instance, other: Instance, dead: Lease, winning: asyncio.Task[Term]) -> None:
    """The other one gets the lead at once; the first one only after it, and under a new session."""
    term = await soon(other.election("settlement").win())
    assert not winning.done(), "it reports that it won, under a session that is closed"
    assert [event for event in one.told if isinstance(event, TermStarted)] == []
    if not dead.is_lost:
        one.leases.lose("fell silent")
    assert term.is_current
    await one.leases.begin()
    async with asyncio.timeout(LONG), other.store.changes([LINE]) as changes:
        while len((await other.store.list(LINE)).records) != 2:
            await anext(changes)
    assert not winning.done()
    await other.election("settlement").resign(term, "done")
    again = await soon(winning)
    assert again.is_current
    assert again.lease.session != dead.session
    assert again.token > term.token


@KNOWS
@pytest.mark.parametrize("silent", [True, False], ids=["silent", "closed by force"])
@pytest.mark.parametrize(("call", "key", "answer"), BEFORE_THE_TAKE.values(), ids=BEFORE_THE_TAKE)
async def test_f34_dead_before_its_take(
    one: Instance, other: Instance, call: str, key: str, answer: bool, silent: bool, knows: bool
) -> None:
    await other.store.write(GRANT, Grant().to_bytes(), expect=ABSENT)
    held = Held(answer=answer)
    one.store.plan(call, held, key=key)
    lease = await one.leases.lease()
    winning = asyncio.ensure_future(one.election("settlement").win())
    await soon(held.reached.wait())
    await close(one, lease, knows=knows, silent=silent)
    held.let_go()
    await stands_in_line_again(one, other, lease, winning)


@KNOWS
@pytest.mark.parametrize("lost", [True, False], ids=["answer lost", "answer late"])
@pytest.mark.parametrize("quicker", [True, False], ids=["another is quicker", "nobody else yet"])
async def test_f34_dead_between_its_take_and_the_answer(
    one: Instance, other: Instance, lost: bool, quicker: bool, knows: bool
) -> None:
    """The take has landed, and nobody heard of that in time: the grant names a dead session, and is the next one's."""
    await other.store.write(GRANT, Grant().to_bytes(), expect=ABSENT)
    held = Held(answer=True, lost=lost)
    one.store.plan("write", held, key=GRANT)
    lease = await one.leases.lease()
    winning = asyncio.ensure_future(one.election("settlement").win())
    await soon(held.reached.wait())
    await close(one, lease, knows=knows, silent=True)
    if quicker:
        term = await soon(other.election("settlement").win())
        held.let_go()
        await other.election("settlement").resign(term, "done")
    held.let_go()
    await stands_in_line_again(one, other, lease, winning)


@KNOWS
async def test_f34_dead_while_it_raises_its_fences(one: Instance, other: Instance, knows: bool) -> None:
    held = Held(answer=True)
    one.fences.append(HeldFence(held))
    lease = await one.leases.lease()
    winning = asyncio.ensure_future(one.election("settlement").win())
    await soon(held.reached.wait())
    await close(one, lease, knows=knows, silent=True)
    one.fences.clear()
    held.let_go()
    await stands_in_line_again(one, other, lease, winning)


class HeldFence:
    """A database of the user's that takes its time."""

    database = "orders.db"

    def __init__(self, held: Held) -> None:
        self._held = held

    async def open(self) -> None:
        pass

    async def raise_to(self, name: str, token: int, *, timeout: float) -> None:
        async def raised() -> None:
            pass

        await self._held(raised)


@KNOWS
async def test_f34_dead_while_the_timer_is_armed(
    one: Instance, other: Instance, knows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper has armed it, and its answer comes late: the clock is looked at after it (R15)."""
    held, real = Held(answer=True), one.leases.arm

    async def arm(lease: Lease, *, token: int) -> Any:
        return await held(lambda: real(lease, token=token))

    monkeypatch.setattr(one.leases, "arm", arm)
    lease = await one.leases.lease()
    winning = asyncio.ensure_future(one.election("settlement").win())
    await soon(held.reached.wait())
    monkeypatch.undo()
    await close(one, lease, knows=knows, silent=True)
    held.let_go()
    await stands_in_line_again(one, other, lease, winning)
    assert len(one.leases.armed) == 1, "the timer of the dead session's term still stands"


@KNOWS
async def test_f34_dead_in_line_and_then_it_is_its_turn(one: Instance, other: Instance, knows: bool) -> None:
    """It waits, its session is closed, and the active one gives up: it is no successor."""
    first = await soon(other.election("settlement").win())
    lease = await one.leases.lease()
    winning = asyncio.ensure_future(one.election("settlement").win())
    async with asyncio.timeout(LONG), other.store.changes([LINE]) as changes:
        while len((await other.store.list(LINE)).records) != 2:
            await anext(changes)
    await close(one, lease, knows=knows, silent=False)
    await other.election("settlement").resign(first, "done")
    await stands_in_line_again(one, other, lease, winning)
