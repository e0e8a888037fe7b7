"""A lane: what came in time counts, however late the event loop looks."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest

from locum.errors import OutcomeUnknownError
from locum.stores.sqlite.lane import Call, Lane

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 0.2


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("a lane", "sqlite:///store.db", hint="look who holds it", at_end=lambda: None)
    yield lane
    lane.close()
    lane.join(5)


async def test_an_answer_that_came_in_time_counts_though_the_loop_was_held_up_beyond_the_deadline(lane: Lane) -> None:
    def work(call: Call[int]) -> int:
        call.begin()
        return 41

    async def held_up() -> int:
        asking = lane.call("read", work, timeout=TIMEOUT)
        task = asyncio.ensure_future(asking)
        await asyncio.sleep(0)
        time.sleep(2 * TIMEOUT)  # noqa: ASYNC251 - that is the case
        return await task

    assert await held_up() == 41


async def test_one_that_has_begun_and_does_not_come_back_is_in_doubt(lane: Lane) -> None:
    go = threading.Event()

    def work(call: Call[int]) -> int:
        call.begin()
        go.wait(30)
        return 41

    with pytest.raises(OutcomeUnknownError):
        await lane.call("write", work, timeout=TIMEOUT)
    go.set()
