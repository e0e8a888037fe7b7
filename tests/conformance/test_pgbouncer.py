"""The PostgreSQL store keeps the contracts through a pooler that lends servers by the transaction."""

from __future__ import annotations

import atexit
import os
from functools import cache

from locum.testing.conformance import GuardContract, SessionContract, WakeUpContract, demand_server
from tests.conformance.test_postgresql import PostgresqlHarness
from tests.conformance.test_postgresql import TestPostgresql as Direct
from tests.servers.postgresql import Pooler, shared


@cache
def pooler() -> Pooler:
    """One for all tests of a process."""
    made = Pooler(shared(), size=8)
    made.start()
    atexit.register(made.stop)
    return made


class PgbouncerHarness(PostgresqlHarness):
    async def start(self) -> None:
        demand_server("pgbouncer", Pooler.is_installed())
        await super().start()
        self._port = pooler().port

    def url(self) -> str:
        return self.schema.url(port=self._port)


_WHOLE = Direct.__bases__ if os.environ.get("LOCUM_FULL") == "1" else (SessionContract, GuardContract, WakeUpContract)


class TestPgbouncer(*_WHOLE):  # type: ignore[misc]  # the same contracts; `make test` holds it to a part of them
    harness = PgbouncerHarness
