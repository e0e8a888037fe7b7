"""A poller: one instance asks somebody for what is new, and keeps where it got to.

The position is written in the same fenced transaction as what was fetched: whoever takes over goes on exactly there,
and one that was deposed meanwhile writes nothing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator

from locum import ActivePassiveService, Host, Term


class Mailbox:
    """Somebody else's system: it answers with everything after a position."""

    def after(self, position: int) -> list[int]:
        return [position + 1, position + 2]


class Inbox:
    """Our own database."""

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("CREATE TABLE IF NOT EXISTS inbox (id INTEGER PRIMARY KEY, fetched_by TEXT)")

    def position(self) -> int:
        (last,) = self.connection.execute("SELECT coalesce(max(id), 0) FROM inbox").fetchone()
        return int(last)


class Poller(ActivePassiveService):
    def __init__(self, mailbox: Mailbox, inbox: Inbox) -> None:
        self._mailbox, self._inbox = mailbox, inbox

    async def run_active(self, term: Term) -> None:
        async for _ in term.every(float(os.environ.get("POLL_EVERY", "5"))):
            new = self._mailbox.after(self._inbox.position())
            async with term.transaction(self._inbox.connection) as connection:
                rows = [(one, f"{term.instance} {term.token}") for one in new]
                connection.executemany("INSERT INTO inbox VALUES (?, ?)", rows)


def open_inbox() -> Iterator[Inbox]:
    inbox = Inbox(os.environ.get("INBOX", "inbox.db"))
    yield inbox
    inbox.connection.close()


host = Host("poller")
host.provide(Mailbox)
host.provide(open_inbox)
host.fence(Inbox)
host.add(Poller, stop_timeout=10)
host.critical("poller", within=60)

if __name__ == "__main__":
    host.run()
