"""A lock that is held by code that blocks, and lost."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

import locum.blocking
from locum.errors import TermEndedError
from tests.faults.kit.waiting import LONG, until

if TYPE_CHECKING:
    from pathlib import Path


def test_f65_a_lock_that_is_lost_in_a_thread(tmp_path: Path) -> None:
    """`check()` raises, `ended` says why, the callback comes once, nothing is written, and the next one has it."""
    path, held_by_thread = tmp_path / "store.db", threading.Event()
    told: list[str] = []
    seen: list[object] = []

    def work() -> None:
        with coordinator.lock("invoice", on_lost=told.append) as held:
            held_by_thread.set()
            try:
                while True:
                    held.sleep(0.01)
            except TermEndedError as error:
                seen.append(error)
            with pytest.raises(TermEndedError):
                held.check()
            with pytest.raises(TermEndedError):
                held.set(b"late")
            seen.append(held.ended)

    with locum.blocking.connect(f"sqlite:///{path}", ttl=1.5) as coordinator:
        thread = threading.Thread(target=work)
        thread.start()
        assert held_by_thread.wait(LONG)
        with closing(sqlite3.connect(path, timeout=LONG)) as store, store:
            store.execute("UPDATE locum_sessions SET closed = 1")
        thread.join(LONG)
        assert not thread.is_alive()
        until(lambda: told, "the callback")
        with coordinator.lock("invoice", timeout=LONG) as held:
            assert (held.token, held.value) == (2, None)
    assert len(told) == 1
    assert seen[1] == told[0]
