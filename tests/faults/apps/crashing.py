"""The schedules, on instances that die after one operation of the job database: whichever a test has named.

Operations are counted from the first that writes down a new run: statements that write, and the commits of these.
Whoever dies after it has read dies as after the last of them.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.engine.default import DefaultDialect

from locum.jobs.ledger import Ledger
from tests.faults.apps.schedules import host, notes

__all__ = ["host"]

after: Path = notes.with_name("die-after")
left: list[int] = []
written: list[str] = []
WRITES = ("INSERT", "UPDATE", "DELETE", "WITH gone AS")
_write: Any = Ledger._write
_commit: Any = DefaultDialect.do_commit


def count(what: str) -> None:
    """One operation was done."""
    if not left:
        return
    left[0] -= 1
    if left[0] == 0:
        after.unlink(missing_ok=True)
        with notes.with_name("died").open("a") as file:
            file.write(f"{' '.join(what.split()[:3])}\n")
        os.kill(os.getpid(), signal.SIGKILL)


def write(self: Ledger, db: Any, steps: Any, **more: Any) -> Any:
    """What was decided is written."""
    if not left and after.exists() and any(found.made for _, found in steps):
        left.append(int(after.read_text()))
    return _write(self, db, steps, **more)


def commit(self: Any, connection: Any) -> None:
    """A transaction is committed."""
    _commit(self, connection)
    if written:
        written.clear()
        count("COMMIT")


def say(statement: str) -> None:
    """A statement was said."""
    if statement.startswith(WRITES):
        written.append(statement)
        count(statement)


setattr(Ledger, "_write", write)  # noqa: B010 - for every ledger of this process
setattr(DefaultDialect, "do_commit", commit)  # noqa: B010
event.listen(Engine, "after_cursor_execute", lambda *given: say(given[2]))
