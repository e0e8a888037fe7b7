"""One connection to a server, through redis-py: made with the credentials of now, asked thing by thing, cut at once.

What the library has no public way for stands here and nowhere else: a TLS context of ours, and the socket itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redis.asyncio.connection import Connection as LibraryConnection
from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from locum.stores.link import part_transport, unusable
from locum.stores.redis.faults import lacking
from locum.stores.redis.messages import keys_of
from locum.stores.redis.server import Server

if TYPE_CHECKING:
    import asyncio
    import ssl
    from collections.abc import Mapping, Sequence
    from typing import Self

    from locum.stores.address import Address
    from locum.stores.redis.scripts import Script

__all__ = ["RedisConnection"]


class _Connection(LibraryConnection):
    """The library's, which lets us see the socket before anything is said, and encrypts as we say."""

    def __init__(self, *, tls: ssl.SSLContext | None, **settings: Any) -> None:
        super().__init__(redis_connect_func=self._greet, **settings)
        self._tls = tls
        self.transport: asyncio.WriteTransport | None = None

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._tls}

    async def _greet(self, _: LibraryConnection) -> None:
        assert self._writer is not None  # noqa: S101 - the library has just connected
        self.transport = self._writer.transport  # from here on it can be cut, whatever the library waits for
        await self.on_connect()

    def cut(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        self._reader = self._writer = None


class RedisConnection:
    """A connection that is ready for scripts.

    Attributes:
        server: What it is connected to.
    """

    server: Server

    def __init__(self, library: _Connection) -> None:
        self._library = library

    @classmethod
    async def make(cls, address: Address, *, database: int) -> Self:
        """Connect, and see whether what is there can be a store.

        Raises:
            ConfigurationError: It cannot; or a password's or certificate's file is not readable.
            StoreUnavailableError: Not now.
        """
        (host, port), (user, password) = address.hosts[0], address.credentials()
        library = _Connection(
            tls=address.tls(),
            host=host,
            port=port,
            username=user,
            password=password,
            db=database,
            protocol=2,
            socket_timeout=None,  # deadlines are the link's
            socket_connect_timeout=None,
            driver_info=None,
        )
        connection = cls(library)
        try:
            await library.connect()  # type: ignore[no-untyped-call]
            connection.server = Server.of(await connection._info(), fsync=await connection._fsync(), url=address.url)
        except NoPermissionError as error:
            connection.abort()
            raise unusable(address.url, lacking(error)) from None
        except BaseException:
            connection.abort()
            raise
        return connection

    @property
    def is_open(self) -> bool:
        """Whether the server has not hung up, as far as is known here."""
        reader, transport = self._library._reader, self._library.transport
        return reader is not None and not reader.at_eof() and transport is not None and not transport.is_closing()

    def abort(self) -> None:
        """Cut the socket."""
        self._library.cut()

    def part(self) -> None:
        """Let the socket go in a forked child."""
        if self._library.transport is not None:
            part_transport(self._library.transport)

    async def run(self, script: Script, keys: Sequence[bytes], values: Sequence[bytes]) -> list[Any]:
        """The answer of a script; its text is sent where the server does not know it yet."""
        given: tuple[str | bytes, ...] = (str(len(keys)), *keys, *values)
        try:
            answer = await self._ask("EVALSHA", script.sha, *given)
        except NoScriptError:  # nothing was done
            answer = await self._ask("EVAL", script.text, *given)
        return list(answer)

    async def subscribe(self, *channels: bytes) -> None:
        """Hear these channels; nothing else can be asked from here on."""
        await self._library.send_command("SUBSCRIBE", *channels)
        for _ in channels:
            await self._library.read_response()

    async def hear(self, within: float) -> frozenset[str] | None:
        """The keys of the next message, or `None` if there is none within so many seconds."""
        said = await self._library.read_response(timeout=within)
        return None if said is None else keys_of(said)

    async def ping(self) -> None:
        """Ask for a sign of life, which `hear` gives as a message of no keys."""
        await self._library.send_command("PING")

    # -- inside

    async def _info(self) -> dict[str, str]:
        lines = bytes(await self._ask("INFO")).decode("utf-8", "replace").splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    async def _fsync(self) -> str | None:
        try:
            answer = await self._ask("CONFIG", "GET", "appendfsync")
        except (NoPermissionError, ResponseError):  # where a server is rented, CONFIG may not even exist
            return None
        return bytes(answer[1]).decode() if len(answer) == 2 else None

    async def _ask(self, *command: str | bytes) -> Any:
        await self._library.send_command(*command)
        return await self._library.read_response()
