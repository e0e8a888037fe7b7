"""Elections on a driver's store: one at a time, under tokens that only grow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum.scopes import Scope
from locum.testing.conformance.crews import RecipeContract, election_of, grant_in, in_line
from locum.testing.conformance.kit import TTL, soon, state_of, turns
from locum.testing.faults import answer_lost, request_lost

if TYPE_CHECKING:
    from locum.coordination.term import Term
    from locum.testing.conformance.crews import Join
    from locum.testing.faults import Fault
    from locum.testing.instances import Instance

__all__ = ["ElectionContract"]


class ElectionContract(RecipeContract):
    """What is promised of elections (R12 to R20)."""

    async def test_one_leads_and_the_grant_names_it(self, join: Join) -> None:
        one = await join("one")
        term = await soon(election_of(one).win())
        grant = await grant_in(one.store)
        assert grant.holder is not None
        assert (grant.holder.instance, grant.token) == ("one", term.token) == ("one", 1)
        assert grant.holder.session == (await one.leases.lease()).session
        await election_of(one).resign(term, "resigned")
        assert (await grant_in(one.store)).holder is None

    async def test_of_many_who_begin_at_once_never_two_lead_and_each_has_its_turn(self, join: Join) -> None:
        crew = [await join(f"web-{number}") for number in range(5)]
        current: list[Term] = []
        tokens: list[int] = []

        async def lead(one: Instance) -> None:
            term = await soon(election_of(one).win())
            current.append(term)
            tokens.append(term.token)
            await turns()
            assert current == [term], "two lead at once"
            current.remove(term)
            await election_of(one).resign(term, "resigned")

        async with Scope("crew") as scope:
            for task in [scope.spawn(lead(one), name=one.leases.owner.name) for one in crew]:
                await soon(task)
        assert len(tokens) == 5
        assert tokens == sorted(set(tokens)), "tokens only grow"

    async def test_the_dead_are_followed_by_the_next_with_a_higher_token(self, join: Join) -> None:
        dead, heir = await join("dead"), await join("heir")
        term = await soon(election_of(dead).win())
        async with Scope("heir") as scope:
            turn = scope.spawn(election_of(heir).win(), name="heir")
            await in_line(heir.store, "dead", "heir")
            assert not turn.done()
            await dead.leases.die("was killed")
            successor = await soon(turn)
            assert (successor.instance, successor.token) == ("heir", term.token + 1)
            await election_of(heir).resign(successor, "resigned")

    async def test_a_holder_whose_session_is_open_is_followed_by_nobody(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        term = await soon(election_of(one).win())
        session = (await one.leases.lease()).session
        async with Scope("other") as scope:
            turn = scope.spawn(election_of(other).win(), name="other")
            await in_line(other.store, "one", "other")
            await turns()
            assert not turn.done()
            assert (await other.store.sessions([session])).by_id[session].is_open
            assert (await grant_in(other.store)).token == term.token

    @pytest.mark.parametrize("fault", [request_lost, answer_lost])
    async def test_a_take_without_an_answer_is_settled_as_one_term(self, join: Join, fault: Fault) -> None:
        one, other = await join("one"), await join("other")
        first = await soon(election_of(other).win())  # so that the next write of the grant is a take
        await election_of(other).resign(first, "resigned")
        one.store.plan("write", fault, key="grant/")
        term = await soon(election_of(one).win())
        grant = await grant_in(other.store)
        assert (grant.token, term.token) == (first.token + 1, first.token + 1)
        assert grant.holder is not None
        assert grant.holder.instance == "one"
        await election_of(one).resign(term, "resigned")

    @pytest.mark.parametrize("fault", [request_lost, answer_lost])
    async def test_a_release_without_an_answer_is_settled(self, join: Join, fault: Fault) -> None:
        one, other = await join("one"), await join("other")
        term = await soon(election_of(one).win())
        one.store.plan("write", fault, key="grant/")
        await election_of(one).resign(term, "resigned")
        successor = await soon(election_of(other).win())
        assert successor.token == term.token + 1
        await election_of(other).resign(successor, "resigned")

    async def test_nothing_is_granted_in_quarantine_and_no_token_falls_after_it(self, join: Join) -> None:
        one = await join("one")
        term = await soon(election_of(one).win())
        session = (await one.leases.lease()).session
        one.leases.lose("the store was put back")
        election_of(one).abandon(term)
        incarnation = (await one.store.renew(max_ttl=TTL)).incarnation
        assert (await state_of(one.store, session)).value == "closed"
        other = await join("other")
        async with Scope("other") as scope:
            turn = scope.spawn(election_of(other).win(), name="other")
            await in_line(other.store, "other")
            await turns()
            assert not turn.done()
            assert await other.store.lift_quarantine(incarnation)
            successor = await soon(turn)
            assert successor.token > term.token
            await election_of(other).resign(successor, "resigned")
