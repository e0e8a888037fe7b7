"""A stream of numbers in shards, summed into a PostgreSQL database, each batch in one fenced transaction."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from locum import Batch, DataflowService, Host, Restart, Shard

host = Host("faults")
LAST = int(os.environ["FAULTS_LAST"])


class Orders(DataflowService):
    """Counts to the last number, in each shard."""

    shards = 4
    join_delay = 0.3
    least, most, batch_seconds = 2, 8, 0.05
    idle = 0.05

    def __init__(self) -> None:
        self.engine = create_async_engine(os.environ["FAULTS_DATABASE"], connect_args={"timeout": 5})

    def database(self) -> AsyncEngine:
        return self.engine

    async def fetch(self, shard: Shard, position: Any, limit: int) -> Batch:
        begin = position or 0
        end = min(LAST, begin + limit)
        return Batch(range(begin + 1, end + 1), end, lag=float(LAST - end))

    async def process(self, shard: Shard, items: Sequence[Any], connection: Any) -> None:
        for item in items:
            await connection.execute(
                sqlalchemy.text("INSERT INTO work (shard, number, token) VALUES (:shard, :number, :token)"),
                {"shard": shard.index, "number": item, "token": shard.token},
            )
            await asyncio.sleep(0.01)  # in the middle of a batch


host.add(Orders, restart=Restart(most=100, first=0.1, last=0.5), stop_timeout=10)

if __name__ == "__main__":
    host.run()
