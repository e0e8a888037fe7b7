"""How much an instance that has nothing to do writes to its store."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Traffic", "watch_writes"]

_PAUSE = 0.002  # far below a beat's interval: no two commits fall between two looks


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was written in some time.

    Attributes:
        duration: The time in seconds.
        commits: Transactions of all processes that changed the file.
        beats: Beats of all open sessions.
        changes: Changes of records and sessions: what the store's revision counts.
    """

    duration: float
    commits: int
    beats: int
    changes: int


def watch_writes(database: Path, duration: float) -> Traffic:
    """Count what is written to a SQLite store, without writing to it."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, isolation_level=None)) as connection:
        commits = beats = 0
        (first_change,), last_beats = connection.execute(_REVISION).fetchone(), _beats(connection)
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        begun = time.monotonic()
        while time.monotonic() - begun < duration:
            time.sleep(_PAUSE)
            (found,) = connection.execute("PRAGMA data_version").fetchone()
            if found == version:
                continue
            version, commits = found, commits + 1
            now_beats = _beats(connection)
            beats += sum(now_beats[session] != last_beats.get(session) for session in now_beats)
            last_beats = now_beats
        (last_change,) = connection.execute(_REVISION).fetchone()
        return Traffic(time.monotonic() - begun, commits, beats, last_change - first_change)


_REVISION = "SELECT revision FROM locum_store"


def _beats(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT id, beat FROM locum_sessions WHERE NOT closed").fetchall())
