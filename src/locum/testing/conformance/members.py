"""Members and endpoints on a driver's store: there as long as their session, and watched to the last state."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeVar

import pytest

from locum.coordination.members import Difference, Member, Members
from locum.coordination.naming import Endpoint, Naming
from locum.errors import TermEndedError
from locum.scopes import Scope
from locum.testing.conformance.crews import RecipeContract, election_of
from locum.testing.conformance.kit import LONG, soon, turns
from locum.testing.faults import answer_lost, request_lost

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from locum.testing.conformance.crews import Join
    from locum.testing.faults import Fault
    from locum.testing.instances import Instance

__all__ = ["MembersContract", "NamingContract", "members_of", "shown"]

T = TypeVar("T")


def members_of(instance: Instance, group: str = "billing") -> Members:
    """A group as an instance has it."""
    return Members(instance.commons, group)


async def shown(states: AsyncGenerator[T, None], wanted: Callable[[T], object]) -> T:
    """The first state of a watch that is as it is wanted."""
    async with asyncio.timeout(LONG):
        while True:
            state = await anext(states)
            if wanted(state):
                return state


class MembersContract(RecipeContract):
    """What is promised of members."""

    async def test_who_joins_is_here_for_others_until_it_leaves(self, join: Join) -> None:
        one, other = members_of(await join("one")), members_of(await join("other"))
        assert await other.list() == ()
        async with one.join(version="1.4", load=0.5, metadata={"zone": "a"}), other.join():
            first, second = await other.list()
            assert (first.instance, first.version, first.load, first.metadata) == ("one", "1.4", 0.5, {"zone": "a"})
            assert (second.instance, second.version, second.load, second.metadata) == ("other", "", None, {})
            assert first.number < second.number
            assert await members_of(await join("third"), "others").list() == ()
        assert await other.list() == ()

    async def test_what_a_member_says_anew_is_seen_and_the_rest_stays(self, join: Join) -> None:
        one, other = members_of(await join("one")), members_of(await join("other"))
        async with one.join(version="1", metadata={"zone": "a"}) as me:
            states = other.watch()
            (before,) = await soon(anext(states))
            await me.update(load=0.0)
            (now,) = await shown(states, lambda members: members != (before,))
            assert (now.version, now.load, now.metadata) == ("1", 0.0, {"zone": "a"})
            assert (now.id, now.number) == (before.id, before.number)
            assert now.revision > before.revision
            await states.aclose()

    async def test_a_watch_shows_who_is_here_at_once_and_the_last_state_after_every_change(self, join: Join) -> None:
        crew = [members_of(await join(f"web-{number}")) for number in range(3)]
        states = members_of(await join("watcher")).watch()
        assert await soon(anext(states)) == ()
        async with AsyncExitStack() as stack:
            for one in crew:
                await stack.enter_async_context(one.join())
            last = await shown(states, lambda members: len(members) == 3)
            assert [member.instance for member in last] == ["web-0", "web-1", "web-2"]
        assert await shown(states, lambda members: not members) == ()
        await states.aclose()

    async def test_whose_session_ends_is_gone_and_comes_back_as_another_one(self, join: Join) -> None:
        one, other = await join("one"), members_of(await join("other"))
        changes = other.changes()
        async with members_of(one).join(load=1.0) as me:
            (joined,) = (await soon(anext(changes))).joined
            told: list[Member] = []
            await one.leases.die("was killed")
            await one.leases.begin()
            while len(told) < 2:
                found = await soon(anext(changes))
                told += (*found.left, *found.joined)
            left, again = told
            assert left == joined, "the leave is told first"
            assert (again.instance, again.load) == ("one", 1.0)
            assert again.id != joined.id
            assert again.session == (await one.leases.lease()).session != joined.session
            await me.update(load=2.0)
            (changed,) = (await soon(anext(changes))).changed
            assert (changed.id, changed.load) == (again.id, 2.0)
        assert (await soon(anext(changes))) == Difference(left=(changed,))
        await changes.aclose()

    @pytest.mark.parametrize("fault", [request_lost, answer_lost])
    async def test_a_call_without_an_answer_makes_no_second_member(self, join: Join, fault: Fault) -> None:
        one, other = await join("one"), members_of(await join("other"))
        one.store.plan("write", fault, fault, fault, fault, key="node/")  # more than one call sends by itself
        async with members_of(one).join() as me:
            assert len(await other.list()) == 1
            one.store.plan("write", fault, fault, fault, fault, key="node/")
            await me.update(load=3.0)
            (seen,) = await other.list()
            assert seen.load == 3.0
            one.store.plan("delete", fault, key="node/")
        assert await other.list() == ()

    async def test_one_that_was_deleted_by_hand_comes_back_with_what_it_says_next(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        async with members_of(one).join() as me:
            (record,) = (await other.store.list("node/members/billing/")).records
            await other.store.delete(record.key, expect=record.revision)
            assert await members_of(other).list() == ()
            await me.update(load=4.0)
            (seen,) = await members_of(other).list()
            assert seen.load == 4.0
            assert seen.session == (await one.leases.lease()).session


class NamingContract(RecipeContract):
    """What is promised of endpoints."""

    async def test_an_endpoint_is_there_until_its_block_ends(self, join: Join) -> None:
        one, other = Naming((await join("one")).commons), Naming((await join("other")).commons)
        async with one.publish("invoices", "http://one"), other.publish("invoices", "http://other"):
            first, second = await other.list("invoices")
            assert (first.address, first.instance, first.token) == ("http://one", "one", None)
            assert (second.address, second.instance, second.token) == ("http://other", "other", None)
            assert await one.list("others") == ()
            assert await other.resolve("invoices") is None, "none of them goes with a term"
        assert await one.list("invoices") == ()

    async def test_the_endpoint_of_the_active_one_moves_with_its_term(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        states = Naming((await join("caller")).commons).watch("invoices")
        assert await soon(anext(states)) is None
        async with AsyncExitStack() as stack:
            first = await soon(election_of(one).win())
            await stack.enter_async_context(Naming(one.commons).publish("invoices", "http://one", term=first))
            assert _told(await soon(anext(states))) == ("http://one", first.token)
            await one.leases.die("was killed")
            second = await soon(election_of(other).win())
            await stack.enter_async_context(Naming(other.commons).publish("invoices", "http://other", term=second))
            assert await Naming(other.commons).list("invoices") == (await Naming(other.commons).resolve("invoices"),)
            seen = await shown(states, lambda endpoint: endpoint is not None and endpoint.token == second.token)
            assert _told(seen) == ("http://other", second.token)
            assert second.token > first.token
        await states.aclose()

    async def test_the_endpoint_of_a_term_is_withdrawn_as_soon_as_its_end_is_asked_for(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        states = Naming(other.commons).watch("invoices")
        assert await soon(anext(states)) is None
        term = await soon(election_of(one).win())
        async with Naming(one.commons).publish("invoices", "http://one", term=term):
            assert await shown(states, lambda endpoint: endpoint is not None)
            term.ask_to_resign("was asked")
            assert await shown(states, lambda endpoint: endpoint is None) is None
            assert term.is_current, "its body may yet answer who came before"
        await election_of(one).resign(term, "resigned")
        await states.aclose()

    async def test_of_two_that_go_with_terms_the_later_one_is_resolved(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        names = Naming(other.commons)
        first = await soon(election_of(one).win())
        async with Naming(one.commons).publish("invoices", "http://one", term=first):
            one.store.always("delete", request_lost, key="node/endpoints/")  # it cannot be withdrawn
            await election_of(one).resign(first, "resigned")
            second = await soon(election_of(other).win())
            assert _told(await names.resolve("invoices")) == ("http://one", first.token)
            async with names.publish("invoices", "http://other", term=second):
                assert len(await names.list("invoices")) == 2
                assert _told(await names.resolve("invoices")) == ("http://other", second.token)
            one.store.always("delete", None, key="node/endpoints/")
        await election_of(other).resign(second, "resigned")

    async def test_a_term_that_is_over_publishes_nothing(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        names, term = Naming(one.commons), await soon(election_of(one).win())
        await other.store.close_session(term.lease.session, reason=b"")  # which it does not know
        async with Scope("publish", on_error=lambda _task, _error: None) as scope:
            publishing = scope.spawn(names.publish("invoices", "http://one", term=term).__aenter__(), name="publish")
            await turns()
            assert not publishing.done()
            one.leases.lose("was silent")
            with pytest.raises(TermEndedError, match="was silent"):
                await soon(publishing)
        with pytest.raises(TermEndedError):
            await names.publish("invoices", "http://one", term=term).__aenter__()
        assert await Naming(other.commons).list("invoices") == ()


def _told(endpoint: Endpoint | None) -> tuple[str, int | None] | None:
    return None if endpoint is None else (endpoint.address, endpoint.token)
