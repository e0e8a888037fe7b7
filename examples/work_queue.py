"""A work queue in a table: the active instance takes jobs in batches, and each is done once.

Taking, doing and marking stand in one fenced transaction: a job is done and marked, or neither. What has effects
outside of the database (a mail, a payment) is done first and marked afterwards, and may come twice: see `locum demo`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator

from locum import ActivePassiveService, Host, Term

AT_ONCE = 10


class Jobs:
    """The table; `python work_queue.py` does what stands in it."""

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, timeout=10)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY, number INTEGER, square INTEGER, done_by INTEGER)"
        )

    def waiting(self) -> list[tuple[int, int]]:
        rows = self.connection.execute(
            "SELECT id, number FROM jobs WHERE done_by IS NULL ORDER BY id LIMIT ?", (AT_ONCE,)
        )
        return [(job, number) for job, number in rows]


class Squares(ActivePassiveService):
    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def run_active(self, term: Term) -> None:
        async for _ in term.every(0.1):
            while (jobs := self._jobs.waiting()) and not term.stopping:
                async with term.transaction(self._jobs.connection) as connection:
                    for job, number in jobs:
                        row = (number * number, term.token, job)
                        connection.execute("UPDATE jobs SET square = ?, done_by = ? WHERE id = ?", row)
                term.beat()  # a long batch is no silence


def open_jobs() -> Iterator[Jobs]:
    jobs = Jobs(os.environ.get("JOBS", "jobs.db"))
    yield jobs
    jobs.connection.close()


host = Host("squares")
host.provide(open_jobs)
host.fence(Jobs)
host.add(Squares, stop_timeout=10)
host.critical("squares", within=60)

if __name__ == "__main__":
    host.run()
