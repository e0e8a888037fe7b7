"""The pipe between keeper and worker, and how a worker finds its end."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from locum.keeper.control import WORKER_VARIABLE, Control, Hello, WorkerEnd
from tests.unit.kit import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HELLO = Hello(
    instance="web-1", store="redis://me:secret@host", namespace="billing", ttl=6, stop_timeout=20.0, hang_timeout=30.0
)


@pytest.fixture
async def two() -> AsyncIterator[tuple[Control, Control]]:
    ours, theirs = socket.socketpair()
    keeper, worker = await Control.over(ours), await Control.over(theirs)
    yield keeper, worker
    keeper.close()
    worker.close()


async def received(control: Control, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    messages = control.messages()
    async for message in messages:
        found.append(message)
        if len(found) == count:
            break
    return found


async def test_messages_come_in_order_with_their_fields(two: tuple[Control, Control]) -> None:
    keeper, worker = two
    worker.send("hello", **asdict(HELLO))
    worker.send("arm", handle=1, generation=2)
    first, second = await soon(received(keeper, 2))
    assert first.pop("kind") == "hello"
    assert Hello(**first) == HELLO
    assert second == {"kind": "arm", "handle": 1, "generation": 2}


async def test_both_ends_speak(two: tuple[Control, Control]) -> None:
    keeper, worker = two
    keeper.send("lost", why="line\nbreak ä \u2028 \x00")
    assert await soon(received(worker, 1)) == [{"kind": "lost", "why": "line\nbreak ä \u2028 \x00"}]


async def test_a_large_message_comes_whole(two: tuple[Control, Control]) -> None:
    keeper, worker = two
    keeper.send("open", owner="x" * 500_000)
    (message,) = await soon(received(worker, 1))
    assert len(message["owner"]) == 500_000


async def test_the_messages_end_with_the_other_end(two: tuple[Control, Control]) -> None:
    keeper, worker = two
    worker.send("started")
    worker.close()
    assert await soon(_all(keeper)) == [{"kind": "started"}]


async def test_a_message_to_an_end_that_is_gone_goes_nowhere(two: tuple[Control, Control]) -> None:
    keeper, worker = two
    worker.close()
    assert await soon(_all(keeper)) == []
    for _ in range(10):
        keeper.send("lost", why="x" * 1000)
        await asyncio.sleep(0)


async def _all(control: Control) -> list[dict[str, Any]]:
    return [message async for message in control.messages()]


def test_a_worker_takes_its_end_once_and_its_children_do_not_inherit_it(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = os.pipe()
    for fd in (one, other):
        os.set_inheritable(fd, True)
    end = WorkerEnd(one, other, 4711)
    monkeypatch.setenv(WORKER_VARIABLE, end.to_text())
    assert WorkerEnd.take() == end
    assert WORKER_VARIABLE not in os.environ
    assert not os.get_inheritable(one)
    assert not os.get_inheritable(other)
    assert WorkerEnd.take() is None
    os.close(one)
    os.close(other)
