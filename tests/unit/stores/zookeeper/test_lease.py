"""A session on a road on which only answers are lost: its owner must not keep it alive by trying."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from locum.clock import nanoseconds
from locum.errors import StoreError
from locum.names import random_id
from locum.stores.zookeeper.sessions import EXPIRED
from tests.faults.kit.wire import Wire
from tests.unit.stores.kit import made, opened

if TYPE_CHECKING:
    from tests.servers.zookeeper import ZooKeeper

TTL = 2.0
LONG = 5 * TTL
TRIES = 30  # each takes a call's deadline: five TTL in all


async def test_f41_an_owner_that_hears_nothing_lets_its_session_end(server: ZooKeeper, root: str) -> None:
    with Wire(server.port) as wire:
        store = made(f"zookeeper://127.0.0.1:{wire.port}{root}")
        await store.open()
        session = random_id()
        await store.open_session(b"", nanoseconds(TTL), session)
        store.call_timeout = TTL / 6
        wire.hurt("answers")
        async with opened(f"zookeeper://127.0.0.1:{server.port}{root}") as other:
            for number in range(1, TRIES):
                with contextlib.suppress(StoreError):  # nothing is answered
                    await store.beat(session, number)
                if (await other.sessions([session])).by_id[session].is_closed:
                    break
            status = (await other.sessions([session])).by_id[session]
            assert status.is_closed, "the session was kept alive by tries that nobody answered"
        assert status.reason == EXPIRED
        wire.mend()
        await store.close()


async def test_after_a_silence_the_same_session_is_gone_on_with(server: ZooKeeper, root: str) -> None:
    with Wire(server.port) as wire:
        store = made(f"zookeeper://127.0.0.1:{wire.port}{root}")
        await store.open()
        session = random_id()
        await store.open_session(b"", nanoseconds(LONG), session)
        store.call_timeout = TTL / 6
        wire.hurt("answers")
        for number in range(1, 4):
            with contextlib.suppress(StoreError):
                await store.beat(session, number)
        wire.mend()
        store.call_timeout = LONG
        await store.beat(session, 9)
        assert (await store.sessions([session])).by_id[session].is_open
        await store.close()
