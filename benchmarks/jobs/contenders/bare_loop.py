"""The least that a queue in PostgreSQL can be: rows that are due, claimed with SKIP LOCKED; no schedule, no liveness.

What a worker has claimed and died with stays claimed for ever. `BENCH_VARIANT` says how an end is written: one by one,
or a batch together.
"""

from __future__ import annotations

import asyncio
import os
import signal

import asyncpg

from benchmarks.jobs.work import Work

_BATCH = {"each": 30, "together": 200}[os.environ.get("BENCH_VARIANT", "each")]
_CLAIM = f"""
UPDATE due SET state = 1 WHERE id IN (
    SELECT id FROM due WHERE state = 0 AND at <= extract(epoch FROM clock_timestamp())
    ORDER BY at LIMIT {_BATCH} FOR UPDATE SKIP LOCKED
) RETURNING id, number
"""
_END = "UPDATE due SET state = 2 WHERE id = $1"
_END_ALL = "UPDATE due SET state = 2 WHERE id = ANY($1::bigint[])"
work = Work()


async def main() -> None:
    """Fill the table, or work it off."""
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    connection = await asyncpg.connect(work.server)
    if work.is_to_prepare:
        await connection.execute("CREATE TABLE due (id bigserial, number int, at float8, state int DEFAULT 0)")
        await connection.execute("CREATE INDEX ON due (at) WHERE state = 0")
        await connection.execute("CREATE UNIQUE INDEX ON due (id)")
        rounds = range(round(work.seconds / work.period)) if work.period else (0,)
        due = [
            (number, work.first(number).timestamp() + turn * work.period)
            for turn in rounds
            for number in range(work.many)
        ]
        await connection.copy_records_to_table("due", records=due, columns=["number", "at"])
        await connection.execute("ANALYZE due")
        return
    work.stand()
    while not over.is_set():
        rows = await connection.fetch(_CLAIM)
        for row in rows:
            work.note(row["number"])
        if not rows:
            await asyncio.sleep(0.001)
        elif _BATCH == 30:
            for row in rows:
                await connection.execute(_END, row["id"])
        else:
            await connection.execute(_END_ALL, [row["id"] for row in rows])


if __name__ == "__main__":
    asyncio.run(main())
