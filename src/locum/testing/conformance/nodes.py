"""Nodes on a driver's store: written by version, gone with their session, and watched to the last state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum.coordination.grant import MOST_VALUE
from locum.coordination.nodes import Node, Nodes
from locum.errors import ConfigurationError, ConflictError, OutcomeUnknownError, SessionLostError
from locum.names import random_id
from locum.scopes import Scope
from locum.testing.conformance.crews import RecipeContract
from locum.testing.conformance.kit import soon, together
from locum.testing.faults import answer_lost, request_lost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.testing.conformance.crews import Join
    from locum.testing.faults import Fault
    from locum.testing.instances import Instance

__all__ = ["NodesContract", "nodes_of"]


def nodes_of(instance: Instance) -> Nodes:
    """The nodes as an instance has them."""
    return Nodes(instance.store, accept=instance.commons.session, session=instance.commons.session)


class NodesContract(RecipeContract):
    """What is promised of nodes."""

    async def test_a_node_is_made_once_and_read_by_others(self, join: Join) -> None:
        one, other = nodes_of(await join("one")), nodes_of(await join("other"))
        assert await one.get("config/limits") is None
        made = await one.create("config/limits", b"10")
        assert (made.path, made.value, made.lasts) == ("config/limits", b"10", True)
        assert await other.get("config/limits") == made
        with pytest.raises(ConflictError, match="config/limits was not written: it is there already") as refused:
            await other.create("config/limits", b"20")
        assert refused.value.current == made
        assert await other.get("config/limits") == made

    async def test_of_many_who_write_on_one_version_one_succeeds(self, join: Join) -> None:
        crew = [nodes_of(await join(f"web-{number}")) for number in range(4)]
        made = await crew[0].create("a", b"")
        outcomes = await together(*(one.set("a", b"%d" % at, version=made.version) for at, one in enumerate(crew)))
        (won,) = [one for one in outcomes if isinstance(one, Node)]
        assert [type(one) for one in outcomes].count(ConflictError) == len(crew) - 1, outcomes
        assert won.version > made.version
        assert won.number == made.number
        assert await crew[0].get("a") == won

    async def test_a_version_does_not_come_back(self, join: Join) -> None:
        nodes = nodes_of(await join("one"))
        made = await nodes.create("a", b"same")
        await nodes.delete("a", version=made.version)
        again = await nodes.create("a", b"same")
        assert again.version > made.version
        assert again.number > made.number
        with pytest.raises(ConflictError, match=f"it has version {again.version}, not {made.version}"):
            await nodes.set("a", b"", version=made.version)
        with pytest.raises(ConflictError):
            await nodes.delete("a", version=made.version)
        assert await nodes.get("a") == again

    async def test_without_a_version_it_is_made_or_written(self, join: Join) -> None:
        nodes = nodes_of(await join("one"))
        made = await nodes.set("a", b"1")
        written = await nodes.set("a", b"2")
        assert (written.value, written.number) == (b"2", made.number)
        await nodes.delete("a")
        await nodes.delete("a")  # it is deleted already
        with pytest.raises(ConflictError, match="it is not there"):
            await nodes.set("a", b"3", version=written.version)
        assert await nodes.get("a") is None

    async def test_a_session_bound_node_vanishes_with_its_session_and_a_lasting_one_stays(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        seen = nodes_of(other)
        bound = await nodes_of(one).create("here/one", b"", session_bound=True)
        await nodes_of(one).create("here/lasting")
        assert bound.session == (await one.leases.lease()).session
        written = await seen.set("here/one", b"by another", version=bound.version)
        assert written.session == bound.session, "a write does not make it last"
        states = seen.watch("here/one")
        assert await soon(anext(states)) == written
        await one.leases.die("was killed")
        assert await soon(anext(states)) is None
        await _end(states)
        assert [node.path for node in await seen.list("here")] == ["here/lasting"]

    async def test_under_a_session_that_is_closed_none_is_made(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        session = (await one.leases.lease()).session
        await other.store.close_session(session, reason=b"")
        with pytest.raises(SessionLostError, match="the session ended before a was made"):
            await nodes_of(one).create("a", session_bound=True)
        assert await nodes_of(other).get("a") is None

    async def test_numbered_ones_stand_in_the_order_of_their_creation(self, join: Join) -> None:
        crew = [nodes_of(await join(f"web-{number}")) for number in range(3)]
        made = [await crew[at % 3].create("jobs", b"%d" % at, numbered=True) for at in range(12)]
        assert [node.number for node in made] == sorted({node.number for node in made})
        assert len({node.path for node in made}) == 12
        await crew[0].set(made[5].path, b"written")
        await crew[0].delete(made[0].path)
        assert [node.number for node in await crew[1].list("jobs")] == [node.number for node in made[1:]]

    async def test_a_list_has_what_is_below_a_folder_and_nothing_else(self, join: Join) -> None:
        nodes = nodes_of(await join("one"))
        for path in ("b/2", "b/1/deep", "b", "bb/3", "a"):
            await nodes.create(path)
        assert [node.path for node in await nodes.list("b")] == ["b/2", "b/1/deep"]
        assert [node.path for node in await nodes.list()] == ["b/2", "b/1/deep", "b", "bb/3", "a"]

    @pytest.mark.parametrize("fault", [request_lost, answer_lost])
    async def test_a_call_without_an_answer_is_settled(self, join: Join, fault: Fault) -> None:
        one = await join("one")
        nodes = nodes_of(one)
        one.store.plan("write", fault, key="node/")
        made = await nodes.create("a", b"1")
        one.store.plan("write", fault, key="node/")
        written = await nodes.set("a", b"2", version=made.version)
        assert await nodes.get("a") == written
        one.store.plan("delete", fault, key="node/")
        await nodes.delete("a", version=written.version)
        assert await nodes.get("a") is None

    async def test_what_no_answer_tells_is_not_told_as_a_refusal(self, join: Join) -> None:
        one, other = await join("one"), nodes_of(await join("other"))
        made = await other.create("a", b"1")

        async def overtaken(call: object) -> None:
            await call()  # type: ignore[operator]
            await other.set("a", b"later")
            raise OutcomeUnknownError("the store", "write")

        one.store.plan("write", overtaken, key="node/")
        with pytest.raises(OutcomeUnknownError):
            await nodes_of(one).set("a", b"2", version=made.version)

    async def test_a_watch_shows_the_state_at_once_and_the_last_one_after_every_change(self, join: Join) -> None:
        one, other = nodes_of(await join("one")), nodes_of(await join("other"))
        states, folder = other.watch("x/a"), other.watch_list("x")
        assert await soon(anext(states)) is None
        assert await soon(anext(folder)) == ()
        made = await one.create("x/a", b"1")
        assert await soon(anext(states)) == made
        assert await soon(anext(folder)) == (made,)
        last = made
        for at in range(20):
            last = await one.set("x/a", b"%d" % at)
        shown = [made.version]
        while shown[-1] != last.version:
            state = await soon(anext(states))
            assert state is not None
            shown.append(state.version)
        assert shown == sorted(set(shown)), "versions in order, and none twice"
        while await soon(anext(folder)) != (last,):
            pass
        await one.delete("x/a")
        assert await soon(anext(states)) is None
        assert await soon(anext(folder)) == ()
        await _end(states)
        await _end(folder)

    async def test_a_watch_survives_a_store_that_does_not_answer(self, join: Join) -> None:
        one, other = await join("one"), await join("other")
        states = nodes_of(other).watch("a")
        assert await soon(anext(states)) is None
        other.store.cut()
        async with Scope("watch") as scope:
            seeing = scope.spawn(_next(states), name="watch")
            made = await nodes_of(one).create("a", b"1")
            assert not seeing.done()
            other.store.mend()
            assert await soon(seeing) == made
        await _end(states)

    async def test_what_cannot_be_a_node_is_refused_with_what_to_do(self, join: Join) -> None:
        nodes = nodes_of(await join("one"))
        await nodes.create("a", bytes(MOST_VALUE))
        with pytest.raises(ConfigurationError, match="has room for 32768: keep it"):
            await nodes.set("a", bytes(MOST_VALUE + 1))
        for path in ("", "/a", "a//b", "a b", "../a"):
            with pytest.raises(ConfigurationError, match="use 1 to 128 letters"):
                await nodes.get(path)
        with pytest.raises(ConfigurationError, match="use shorter names"):
            await nodes.get("/".join([random_id()] * 20))


async def _next(states: AsyncIterator[Node | None]) -> Node | None:
    return await anext(states)


async def _end(states: object) -> None:
    await states.aclose()  # type: ignore[attr-defined]
