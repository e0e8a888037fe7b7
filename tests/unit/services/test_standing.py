"""What has not ended is told of again and again, until it has."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from locum.services import standing
from locum.services.standing import SlowEnd
from tests.unit.kit import until

if TYPE_CHECKING:
    import pytest


async def test_a_slow_end_is_told_of_every_fifteen_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert standing.SLOW_AFTER == 15
    monkeypatch.setattr(standing, "SLOW_AFTER", 0.01)
    told: list[float] = []
    slow = SlowEnd(told.append)
    await until(lambda: len(told) >= 3, "the third time")
    slow.close()
    at_the_end = list(told)
    await asyncio.sleep(0.05)
    assert told == at_the_end, "it is closed"
    assert [round(passed / 0.01) for passed in told] == [*range(1, len(told) + 1)]
