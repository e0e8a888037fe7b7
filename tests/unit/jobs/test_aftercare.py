"""What dead sessions have left is looked for when one has ended, and not only now and then."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from locum.clock import Clock, nanoseconds
from locum.jobs.aftercare import Aftercare
from locum.names import random_id
from locum.scopes import Scope, cancel_and_wait, told_by_result
from tests.unit.kit import opened, soon, turns

if TYPE_CHECKING:
    from pathlib import Path


async def test_who_looks_after_runs_is_told_at_once_of_a_session_that_has_ended(tmp_path: Path) -> None:
    path, session, told = tmp_path / "store.db", random_id(), asyncio.Event()
    async with opened(path) as store, opened(path) as other, Scope("test", on_error=told_by_result) as scope:
        await other.open_session(b"somebody", nanoseconds(60), session)
        hearing = scope.spawn(Aftercare(store, Clock()).hear(told.set), name="hear")
        await turns()
        told.clear()  # of its opening
        await other.close_session(session, reason=b"is gone")
        await soon(told.wait())
        await cancel_and_wait(hearing)
