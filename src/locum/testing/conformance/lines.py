"""The line on a driver's store: fair turns, and few wake-ups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from locum.scopes import Scope, cancel_and_wait
from locum.testing.conformance.crews import RecipeContract, election_of, in_line
from locum.testing.conformance.kit import soon

if TYPE_CHECKING:
    from locum.testing.conformance.crews import Join

__all__ = ["LineContract"]


class LineContract(RecipeContract):
    """What is promised of the line (R23)."""

    async def test_turns_come_in_the_order_of_coming(self, join: Join) -> None:
        names = ["first", "second", "third", "fourth"]
        crew = [await join(name) for name in names]
        held = await soon(election_of(crew[0]).win())
        async with Scope("line") as scope:
            waiting = []
            for number, one in enumerate(crew[1:], 2):
                waiting.append(scope.spawn(election_of(one).win(), name=one.leases.owner.name))
                await in_line(crew[0].store, *names[:number])
            for holder, turn in zip(crew, waiting, strict=False):
                await election_of(holder).resign(held, "resigned")
                held = await soon(turn)
            assert [held.instance, held.token] == ["fourth", 4]
            await election_of(crew[-1]).resign(held, "resigned")
        await in_line(crew[0].store)

    async def test_a_place_dies_with_its_session(self, join: Join) -> None:
        first, dead, last = await join("first"), await join("dead"), await join("last")
        held = await soon(election_of(first).win())
        async with Scope("line") as scope:
            scope.spawn(election_of(dead).win(), name="dead")
            await in_line(first.store, "first", "dead")
            turn = scope.spawn(election_of(last).win(), name="last")
            await in_line(first.store, "first", "dead", "last")
            await dead.leases.die("was killed")
            await in_line(first.store, "first", "last")
            await election_of(first).resign(held, "resigned")
            held = await soon(turn)
            assert held.instance == "last"
            await election_of(last).resign(held, "resigned")

    async def test_whoever_stops_waiting_leaves_no_place_behind(self, join: Join) -> None:
        first, second = await join("first"), await join("second")
        held = await soon(election_of(first).win())
        async with Scope("line") as scope:
            turn = scope.spawn(election_of(second).win(), name="second")
            await in_line(first.store, "first", "second")
            await cancel_and_wait(turn)
            await in_line(first.store, "first")
        await election_of(first).resign(held, "resigned")
