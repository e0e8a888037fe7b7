"""One connection to a server, through asyncpg: made with the credentials of now, asked statement by statement.

asyncpg prepares a statement in one round trip and runs it in the next. A pooler that lends servers by the transaction
may run the second on another server than the first; so through one each call is a transaction of its own, which the
server ends by itself if the client falls silent in the middle. Directly a call is one trip, and commits by itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from locum.errors import StoreUnavailableError
from locum.stores.link import part_transport
from locum.stores.sql.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

    from locum.stores.address import Address
    from locum.stores.sql.statement import Statement

__all__ = ["PostgresConnection"]

_ASK: Final = """
SELECT pg_backend_pid() AS pid, version() AS version, pg_is_in_recovery() AS standby,
    current_setting('server_version_num')::int AS number,
    current_setting('transaction_read_only') = 'on' AS read_only,
    current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on' AS syncs
"""
_IDLE: Final = 2  # seconds after which a transaction whose client has fallen silent is ended by the server


class PostgresConnection:
    """A connection that is ready for statements.

    Attributes:
        server: What it is connected to.
    """

    server: Server

    def __init__(self, library: asyncpg.Connection[asyncpg.Record], *, longest: float) -> None:
        self._library = library
        self._begin = "BEGIN ISOLATION LEVEL READ COMMITTED; " + _settings("SET LOCAL", longest)
        self._prepared: dict[str, Any] = {}
        self._heard: asyncio.Queue[frozenset[str] | None] = asyncio.Queue()

    @classmethod
    async def make(cls, address: Address, *, database: str, longest: float) -> Self:
        """Connect, and see whether what is there can be a store.

        Args:
            address: Where it is, and as whom one connects.
            database: The name of the database.
            longest: Seconds after which the server ends a statement.

        Raises:
            ConfigurationError: It cannot; or a password's or certificate's file is not readable.
        """
        user, password = address.credentials()
        library = await asyncpg.connect(
            host=[host for host, _ in address.hosts],
            port=[port for _, port in address.hosts],  # of each of them
            user=user,
            password=password,
            database=database,
            ssl=address.tls() or False,
            timeout=3600,  # deadlines are the link's
            command_timeout=None,
            statement_cache_size=0,  # what may be prepared is decided here
            target_session_attrs=SessionAttribute.primary if len(address.hosts) > 1 else SessionAttribute.any,
            server_settings={"application_name": "locum"},
        )
        connection = cls(library, longest=longest)
        try:
            await library.execute("BEGIN")
            found = await library.fetchrow(_ASK)
            await library.execute("COMMIT")
            assert found is not None  # noqa: S101 - it is one row
            connection.server = Server.of(found, pooled=found["pid"] != library.get_server_pid(), url=address.url)
            if not connection.server.pooled:
                await library.execute(
                    "SET default_transaction_isolation = 'read committed'; " + _settings("SET", longest)
                )
        except BaseException:
            connection.abort()
            raise
        return connection

    @property
    def is_open(self) -> bool:
        """Whether the server has not hung up, as far as is known here."""
        return not self._library.is_closed()

    def abort(self) -> None:
        """Cut the socket."""
        self._library.terminate()

    def part(self) -> None:
        """Let the socket go in a forked child."""
        part_transport(self._library._transport)  # type: ignore[attr-defined]

    async def fetch(self, statement: Statement, values: Mapping[str, object]) -> Sequence[asyncpg.Record]:
        """The rows of a statement, which is committed with them."""
        given = statement.given(values)
        if self.server.pooled:
            return await self._fetch_in_transaction(statement, given)
        prepared = self._prepared.get(statement.text)
        if prepared is None:
            prepared = self._prepared[statement.text] = await self._library.prepare(statement.text)
        rows: Sequence[asyncpg.Record] = await prepared.fetch(*given)
        return rows

    async def run(self, script: str) -> None:
        """Run statements without parameters, all or none of them."""
        await self._library.execute(script)

    async def subscribe(self, *channels: str) -> None:
        """Hear these channels."""
        self._library.add_termination_listener(lambda _: self._heard.put_nowait(None))
        for channel in channels:
            await self._library.add_listener(channel, self._hear)

    async def hear(self, within: float) -> frozenset[str] | None:
        """The keys of the next message, or `None` if there is none within so many seconds."""
        try:
            async with asyncio.timeout(within):
                heard = await self._heard.get()
        except TimeoutError:
            return None
        if heard is None:
            raise StoreUnavailableError(str(self.server.version), "the connection broke")
        return heard

    async def ping(self) -> None:
        """Ask for a sign of life, which `hear` gives as a message of no keys."""
        await self._library.execute("SELECT 1")
        self._heard.put_nowait(frozenset())

    # -- inside

    def _hear(self, _: object, pid: int, channel: str, message: object) -> None:
        del pid, channel
        self._heard.put_nowait(frozenset(str(message).split(" ")))

    async def _fetch_in_transaction(self, statement: Statement, given: Sequence[object]) -> Sequence[asyncpg.Record]:
        await self._library.execute(self._begin)
        try:
            rows: Sequence[asyncpg.Record] = await self._library.fetch(statement.text, *given)
        except asyncpg.PostgresError:
            await self._library.execute("ROLLBACK")
            raise
        await self._library.execute("COMMIT")
        return rows


def _settings(how: str, longest: float) -> str:
    """What a database's own settings must not weaken (R26), and what ends a statement that nobody waits for."""
    milliseconds = max(1, round(longest * 1000))
    settings = {
        "synchronous_commit": "on",
        "statement_timeout": str(milliseconds),
        "idle_in_transaction_session_timeout": str(_IDLE * 1000),
        "jit": "off",
    }
    return "; ".join(f"{how} {name} = '{value}'" for name, value in settings.items())
