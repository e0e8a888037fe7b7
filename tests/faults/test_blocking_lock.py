"""A lock that is held by code that blocks, and lost."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

import locum.blocking
from locum.errors import TermEndedError
from tests.faults.kit.waiting import LONG, until
from tests.faults.kit.window import Window

if TYPE_CHECKING:
    from tests.faults.kit.places import Place


@pytest.mark.stores
def test_f65_a_lock_that_is_lost_in_a_thread(place: Place) -> None:
    """`check()` raises, `ended` says why, the callback comes once, nothing is written, and the next one has it."""
    held_by_thread = threading.Event()
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

    with locum.blocking.connect(place.url, ttl=1.5) as coordinator, Window(place.url, "default") as window:
        thread = threading.Thread(target=work)
        thread.start()
        assert held_by_thread.wait(LONG)
        window.close_all_sessions("was given up")
        thread.join(LONG)
        assert not thread.is_alive()
        until(lambda: told, "the callback")
        with coordinator.lock("invoice", timeout=LONG) as held:
            assert (held.token, held.value) == (2, None)
    assert len(told) == 1
    assert seen[1] == told[0]
