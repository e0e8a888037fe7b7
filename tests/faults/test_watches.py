"""F67: watches of nodes and members whose connections to the server break, again and again, while all goes on.

Whatever was lost on the way: the last state is shown, states come in their order, nothing that lasts is passed over,
and what could not be read is never shown as gone.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

import pytest

from locum import Coordinator
from locum.errors import StoreError
from locum.scopes import Scope
from tests.faults.kit.places import SERVERS, ServerPlace
from tests.faults.kit.runs import count
from tests.faults.kit.waiting import pass_by
from tests.faults.kit.wire import HARMS, Wire
from tests.watches import Joining, MembersShown, NodesShown, all_back, change

if TYPE_CHECKING:
    from locum.coordination.nodes import Node, Nodes
    from tests.faults.kit.places import Place

pytestmark = pytest.mark.timeout(1800)

TTL: Final = 2.0  # the watcher's: it loses its session, too, where a cut takes long
LONG_TTL: Final = 60.0
REST: Final = 20  # after so many changes the connection is mended, and what is there lasts
CREW: Final = 3
ANCHOR: Final = "x/anchor"
HURT: Final = [harm for harm in HARMS if harm != "slow"]


@pytest.mark.stores(*SERVERS)
async def test_f67_the_last_state_is_seen_in_order_though_the_connection_breaks(place: Place) -> None:
    assert isinstance(place, ServerPlace)
    chance = random.Random(67)
    async with AsyncExitStack() as stack:
        wire = stack.enter_context(Wire(place.server.port))
        watcher = await stack.enter_async_context(
            Coordinator.connect(place.through("127.0.0.1", wire.port), instance="watcher", ttl=TTL)
        )
        group = [
            await stack.enter_async_context(Coordinator.connect(place.url, instance=f"web-{at}", ttl=LONG_TTL))
            for at in range(CREW)
        ]
        crew = [Joining(one.members("billing"), chance) for one in group]
        nodes, lasting = group[0].nodes, [await group[0].nodes.create(ANCHOR)]
        scope = await stack.enter_async_context(Scope("watch"))
        shown, members = NodesShown(watcher.nodes, scope), MembersShown(watcher.members("billing"), scope)

        async def change_some(many: int) -> None:
            for _ in range(many):
                if chance.random() < 0.5:
                    await change(nodes, f"x/{chance.randrange(4)}", chance)
                else:
                    await chance.choice(crew).change()

        for at in range(count(full=1_000, small=100) // REST):
            await change_some(REST // 2)
            wire.hurt(HURT[at % len(HURT)])
            await change_some(REST // 2)
            await asyncio.to_thread(pass_by, chance.uniform(0.1, 1.5) * TTL / 2)
            wire.mend()
            lasting += await last_shown(nodes, shown)
            await members.until(await all_back(group[0].members("billing"), crew))
        for one in crew:
            await one.leave()
        await members.until(())
    judge(shown, lasting)
    members.judge()


@pytest.mark.stores(*SERVERS, own=True, thorough=True)
async def test_f67_the_last_state_is_seen_in_order_though_the_server_restarts(place: Place) -> None:
    """Who writes meets it too: what it is not told of has happened, or has not; what is watched is what there is."""
    assert isinstance(place, ServerPlace)
    chance = random.Random(67)
    async with (
        Coordinator.connect(place.url, instance="watcher", ttl=TTL) as watcher,
        Coordinator.connect(place.url, instance="writer", ttl=LONG_TTL) as writer,
        Scope("watch") as scope,
    ):
        nodes, lasting = writer.nodes, [await writer.nodes.create(ANCHOR)]
        shown = NodesShown(watcher.nodes, scope)
        changes = count(full=1_000, small=100)
        for _ in range(4):
            restarting = scope.spawn(asyncio.to_thread(restart, place), name="restart")
            done = 0
            while done < changes // 4 or not restarting.done():
                try:
                    await change(nodes, f"x/{chance.randrange(4)}", chance)
                except StoreError:
                    await asyncio.sleep(0.02)
                else:
                    done += 1
            await restarting
            lasting += await last_shown(nodes, shown)
    judge(shown, lasting)


def restart(place: ServerPlace) -> None:
    """Kill the server, and start it again a moment later."""
    with place.ended():
        pass_by(0.5)


async def last_shown(nodes: Nodes, shown: NodesShown) -> list[Node]:
    """Wait until the watches show what is there now; that of it which lasts."""
    one = await nodes.get("x/0")
    await shown.until(one, await nodes.list("x"))
    return [one] if one else []


def judge(shown: NodesShown, lasting: list[Node]) -> None:
    """What is always there is always shown, and the rest in order."""
    anchor, *rest = lasting
    assert [state for state in shown.folder[1:] if anchor not in state] == [], (
        "what could not be read was shown as gone"
    )
    shown.judge(rest)
