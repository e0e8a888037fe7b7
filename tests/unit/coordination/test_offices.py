"""Elections completed: priority, never, a value in office, and a pause of takeovers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from locum.coordination.election import NEVER, Election, Office
from locum.coordination.line import line_prefix
from locum.coordination.pause import Pause
from locum.errors import NotOurTurnError, WaitTimeoutError
from locum.scopes import Scope, cancel_and_wait
from locum.store import Record
from tests.unit.kit import LONG, instance, soon, turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.testing.instances import Instance

LINE = line_prefix("election/settlement")


@pytest.fixture
async def crew(tmp_path: Path) -> AsyncIterator[list[Instance]]:
    path = tmp_path / "store.db"
    async with instance(path, "web-1") as one, instance(path, "web-2") as two, instance(path, "web-3") as three:
        yield [one, two, three]


def election_of(one: Instance, *, priority: int | None = 0) -> Election:
    return Election(one.commons, "settlement", priority=priority)


async def in_line(one: Instance, count: int) -> None:
    async with asyncio.timeout(LONG), one.store.changes([LINE]) as changes:
        while len((await one.store.list(LINE)).records) != count:
            await anext(changes)


async def test_the_one_with_the_highest_priority_is_next(crew: list[Instance]) -> None:
    one, two, three = crew
    async with Scope("crew") as scope:
        first = election_of(one)
        term = await soon(first.win())
        low = scope.spawn(election_of(two, priority=1).win(), name="low")
        await in_line(one, 2)
        high = scope.spawn(election_of(three, priority=2).win(), name="high")
        await in_line(one, 3)
        assert term.is_current, "whoever leads is not driven out"
        await first.resign(term, "resigned")
        assert (await soon(high)).instance == "web-3"
        assert not low.done()


async def test_one_that_never_leads_stands_in_no_line(crew: list[Instance]) -> None:
    never = election_of(crew[0], priority=NEVER)
    with pytest.raises(WaitTimeoutError):
        await never.win(timeout=0)
    async with Scope("never") as scope:
        waiting = scope.spawn(never.win(), name="never")
        await turns()
        assert (await crew[0].store.list(LINE)).records == []
        assert not waiting.done()
        await cancel_and_wait(waiting)


async def test_a_value_in_office_is_seen_and_ends_with_the_term(crew: list[Instance]) -> None:
    one, two, _ = crew
    election, seen = election_of(one), election_of(two).watch()
    assert await soon(anext(seen)) is None
    term = await soon(election.win())
    assert await soon(anext(seen)) == Office("web-1", 1, None)
    await election.proclaim(b"http://web-1")
    assert await soon(anext(seen)) == Office("web-1", 1, b"http://web-1")
    await election.resign(term, "resigned")
    assert await soon(anext(seen)) is None
    with pytest.raises(NotOurTurnError):
        await election.proclaim(b"late")
    async with election_of(two).lead():
        assert await election.leader() == Office("web-2", 2, None)
    await seen.aclose()  # type: ignore[attr-defined]


async def test_nobody_takes_over_in_a_pause_but_by_a_transfer(crew: list[Instance]) -> None:
    one, two, three = crew
    election = election_of(one)
    async with Scope("crew") as scope:
        leading = asyncio.Event()

        async def lead() -> None:
            async with election.lead():
                leading.set()
                await asyncio.sleep(LONG)

        block = scope.spawn(_ended(lead()), name="lead")
        await soon(leading.wait())
        others = [scope.spawn(election_of(each).win(), name="other") for each in (two, three)]
        await in_line(one, 3)
        await election.pause("maintenance", by="ada")
        await election.transfer(to="web-3")
        await soon(block)
        heir = await soon(others[1])
        assert (heir.instance, heir.token) == ("web-3", 2)
        await three.leases.die("was killed")
        looks = two.store.answered("read", "pause/")
        async with asyncio.timeout(LONG):
            while two.store.answered("read", "pause/") == looks:  # noqa: ASYNC110 - it looks by itself
                await asyncio.sleep(0.002)
        await turns()
        assert not others[0].done(), "somebody took over in a pause"
        await election.resume()
        assert (await soon(others[0])).token == 3


async def _ended(lead: object) -> None:
    with pytest.raises(Exception, match="was transferred to web-3"):
        await lead  # type: ignore[misc]


def test_a_pause_that_cannot_be_read_is_one_nevertheless() -> None:
    assert Pause.of(None) is None
    spoilt = Pause.of(Record("pause/election/s", b"\xff", 1, 1, None))
    assert spoilt is not None
    assert "it is no pause" in spoilt.why
