"""The Redis store keeps the contracts over TLS too, as a user with a certificate, a password, and no right too many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from locum.testing.conformance import demand_server
from tests.conformance.test_redis import RedisHarness
from tests.conformance.test_redis import TestRedis as Plain
from tests.servers.certificates import Certificates
from tests.servers.redis import Redis, documented

if TYPE_CHECKING:
    from pathlib import Path


class RedissHarness(RedisHarness):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._certificates = Certificates(folder / "certificates")
        self._client, self._key = self._certificates.client("billing")
        users = {"billing": ("s3cret", documented("billing"))}
        self.server = Redis(folder / "server", certificates=self._certificates, users=users)

    async def start(self) -> None:
        demand_server("redis", Redis.is_installed())
        self.server.start()

    def url(self) -> str:
        options = f"cafile={self._certificates.authority}&certfile={self._client}&keyfile={self._key}"
        return f"rediss://billing:s3cret@localhost:{self.server.tls_port}?{options}"


class TestRediss(*Plain.__bases__):  # type: ignore[misc]  # the same contracts
    harness = RedissHarness
