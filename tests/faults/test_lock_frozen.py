"""F61 with `cancel`: nobody ends a frozen holder in a process that is not Locum's, and it may do nothing any more."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

import locum.blocking
from tests.faults.kit.waiting import LONG, until
from tests.faults.kit.window import Window

if TYPE_CHECKING:
    from tests.faults.kit.places import Place

APP: Final = Path(__file__).parent / "apps" / "holding.py"
NAMESPACE: Final = "billing"


@pytest.mark.stores
def test_f61_a_holder_that_was_frozen_is_told_when_it_goes_on_and_its_token_is_refused(
    place: Place, tmp_path: Path
) -> None:
    """It works until it is frozen, and not a line after; its block is cancelled, and what it tries late is refused."""
    told, database = tmp_path / "told", tmp_path / "books.db"

    def said() -> list[list[str]]:
        return [line.split(" ", 1) for line in told.read_text().splitlines()] if told.exists() else []

    with (
        subprocess.Popen([sys.executable, str(APP), place.url, str(told), str(database)]) as holder,
        locum.blocking.connect(place.url, namespace=NAMESPACE, ttl=1.5) as coordinator,
        Window(place.url, NAMESPACE) as window,
        closing(sqlite3.connect(database, timeout=LONG, isolation_level=None, check_same_thread=False)) as books,
    ):
        try:
            until(lambda: ["works", "1"] in said(), "it to work")
            _after_a_beat(window)  # one that is frozen while it writes to a file would hold up everyone
            holder.send_signal(signal.SIGSTOP)
            before = said()
            with coordinator.lock("a", timeout=LONG) as held, held.transaction(books):
                assert held.token == 2
            with coordinator.lock("a", timeout=LONG) as held:
                holder.send_signal(signal.SIGCONT)
                assert holder.wait(LONG) == 0
                held.check()
        finally:
            holder.kill()
    after = said()[len(before) :]
    assert "works" not in [word for word, _ in after], "it worked on under a token that is over"
    assert [word for word, _ in after].count("told") == 1
    assert "cancelled" in [word for word, _ in after]
    refused = [about.partition(":")[0] for word, about in after if word == "refused"]
    assert refused == ["check", "fence", "value"], after
    assert after[-1][0] == "over"


def _after_a_beat(window: Window) -> None:
    before = window.sessions()["holder"].beat
    if before is not None:
        until(lambda: window.sessions()["holder"].beat != before, "a beat", pause=0.001)
