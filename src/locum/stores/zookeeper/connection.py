"""One connection to a ZooKeeper server, in the event loop: what is asked in order is answered in order."""

from __future__ import annotations

import asyncio
import random
import struct
from collections import deque
from typing import TYPE_CHECKING, Final

from locum.errors import ConfigurationError, StoreUnavailableError
from locum.stores.link import part_transport
from locum.stores.zookeeper import protocol
from locum.stores.zookeeper.options import told_reader
from locum.stores.zookeeper.protocol import Answer, Greeting, Refusal, Rights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from locum.stores.address import Address
    from locum.stores.zookeeper.protocol import Request

__all__ = ["ExpiredError", "ZooKeeperConnection"]
_LARGEST: Final = 16 * 1024 * 1024  # bytes of an answer; a server has 1 MB, if nothing else is set
_READS: Final = 200  # in one message: of the largest values, so many are no larger an answer than that
_LENGTH: Final = struct.Struct("!i")


class ExpiredError(Exception):
    """The session that was to be gone on with has expired."""


class ZooKeeperConnection:
    """A connection whose login is accepted.

    Attributes:
        greeting: What the server granted.
        rights: Those of the nodes that are made on it.
    """

    greeting: Greeting
    rights: Rights

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._xid = 0
        self._heard: deque[str] = deque()

    @classmethod
    async def make(
        cls, address: Address, *, within: float, timeout: int, session: int = 0, password: bytes = b"\x00" * 16
    ) -> Self:
        """Connect to one of the servers, with a new session or one that is there already.

        They are tried in any order; one that is dead costs its part of the time, and no call.

        Args:
            address: Where they are.
            within: Seconds in which all of them are to be tried; the caller's own deadline is not much longer.
            timeout: The wanted timeout of the session, in ms.
            session: The session to go on with; 0 for a new one.
            password: What proves that it is ours.

        Raises:
            ExpiredError: It has expired.
            ConfigurationError: The login is wrong, or a file is not readable.
            StoreUnavailableError: Not now.
        """
        hosts = random.sample(address.hosts, len(address.hosts))
        hello = protocol.connect(timeout=timeout, session=session, password=password)
        for host, port in hosts[:-1]:
            try:
                async with asyncio.timeout(within / len(hosts)):
                    return await cls._make_at(address, host, port, hello)
            except (OSError, EOFError, StoreUnavailableError):
                pass  # the next one may be better
        return await cls._make_at(address, *hosts[-1], hello)

    @classmethod
    async def _make_at(cls, address: Address, host: str, port: int, hello: bytes) -> Self:
        login = address.credentials()
        connection = cls(*await asyncio.open_connection(host, port, ssl=address.tls(), limit=_LARGEST))
        try:
            connection._writer.write(hello)
            connection.greeting = protocol.greeting(await connection._read())
            if connection.greeting.timeout <= 0:
                raise ExpiredError
            if connection.greeting.read_only:
                raise StoreUnavailableError(address.url, f"{host}:{port} has lost its ensemble and only reads")
            has_login = login.user is not None and login.password is not None
            if has_login:
                connection._writer.write(protocol.login("digest", f"{login.user}:{login.password}"))
                _, _, code, _ = protocol.reply(await connection._read())
                if code:
                    raise ConfigurationError(f"the store {address.url} refuses the login: look at user and password")
            connection.rights = Rights.of(has_login=has_login, reader=told_reader(address))
        except BaseException:
            connection.abort()
            raise
        return connection

    @property
    def is_open(self) -> bool:
        """Whether the server has not hung up, as far as is known here."""
        return (
            self._reader.exception() is None and not self._reader.at_eof() and not self._writer.transport.is_closing()
        )

    def abort(self) -> None:
        """Cut the socket."""
        self._writer.transport.abort()

    def part(self) -> None:
        """Let the socket go in a forked child."""
        part_transport(self._writer.transport)

    async def ask(self, request: Request) -> Answer:
        """What the server answers.

        Raises:
            Refusal: It says no.
        """
        (answer,) = await self.ask_all(request)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    async def ask_all(self, *requests: Request) -> list[Answer | Refusal]:
        """What the server answers to each, asked at once and answered in order."""
        sent = []
        for request in requests:
            self._xid += 1
            self._writer.write(protocol.message(self._xid, request))
            sent.append((self._xid, request))
        await self._writer.drain()
        return [await self._answer(xid, request) for xid, request in sent]

    async def get_each(
        self, paths: Sequence[str], *, before: Sequence[Request] = (), after: Sequence[Request] = ()
    ) -> tuple[list[Answer | Refusal], list[Answer | Refusal]]:
        """The node at each path, or why there is none to be had, in few messages of one trip.

        Args:
            paths: They are read in their order.
            before: What is asked besides, before that.
            after: What is asked besides, after that.

        Returns:
            The nodes, and what was answered to what was asked besides.
        """
        parts = [paths[begin : begin + _READS] for begin in range(0, len(paths), _READS)]
        answers = await self.ask_all(*before, *(protocol.get_each(*part) for part in parts), *after)
        begin, end = len(before), len(before) + len(parts)
        nodes: list[Answer | Refusal] = []
        for answer in answers[begin:end]:
            if isinstance(answer, Refusal):
                raise answer
            nodes += answer.what
        return nodes, [*answers[:begin], *answers[end:]]

    async def hear(self) -> str | None:
        """The path of the next wake-up; `None` for the answer to a `ping`. Nothing else is asked from here on."""
        if self._heard:
            return self._heard.popleft()
        found, _, _, rest = protocol.reply(await self._read())
        return protocol.watched(rest) if found == protocol.WATCH_XID else None

    def ping(self) -> None:
        """Say that we are there, and ask for a sign of life."""
        self._writer.write(protocol.ping())

    # -- inside

    async def _answer(self, xid: int, request: Request) -> Answer | Refusal:
        while True:
            text = await self._read()
            found, zxid, code, rest = protocol.reply(text)
            if found == xid:
                break
            if found == protocol.WATCH_XID:
                self._heard.append(protocol.watched(rest))
                continue
            raise ConnectionError(f"the server answers {found} where {xid} was asked")
        try:
            return protocol.content(request, zxid, code, rest)
        except Refusal as refusal:
            return refusal

    async def _read(self) -> bytes:
        (length,) = _LENGTH.unpack(await self._reader.readexactly(4))
        if not 0 < length <= _LARGEST:
            raise ConnectionError("what answers there is no ZooKeeper")
        return await self._reader.readexactly(length)
