"""A link to a server: a call ends by its deadline, says no more than it knows, and leaves the next one a connection.

The server is a real one on the loopback that answers each line with the same line, or as it is told.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from locum.clock import Clock
from locum.errors import (
    ConfigurationError,
    ConflictError,
    ForkedError,
    LocumError,
    OutcomeUnknownError,
    StoreUnavailableError,
)
from locum.scopes import Scope, cancel_and_wait
from locum.stores.link import Link, part_transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

SHORT = 0.15
LONG = 20.0


class Echo:
    """The server; `silent` lines are never answered."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.connections: list[asyncio.StreamWriter] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        try:
            while line := await reader.readline():
                self.lines.append(line.decode().strip())
                if not line.startswith(b"silent"):
                    writer.write(line)
        except OSError:
            pass
        finally:
            self.connections.remove(writer)
            writer.close()


class Line:
    """A connection to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @property
    def is_open(self) -> bool:
        return not (self.reader.at_eof() or self.writer.transport.is_closing())

    def abort(self) -> None:
        self.writer.transport.abort()

    def part(self) -> None:
        part_transport(self.writer.transport)

    async def hello(self) -> str:
        return await self.ask("hello")

    async def ask(self, text: str) -> str:
        self.writer.write(f"{text}\n".encode())
        answer = await self.reader.readline()
        if not answer:
            raise EOFError("the server has hung up")
        return answer.decode().strip()


@asynccontextmanager
async def echo() -> AsyncIterator[Echo]:
    server = Echo()
    async with Scope("echo") as scope:
        listening = await asyncio.start_server(
            lambda reader, writer: scope.spawn(server.serve(reader, writer), name="serve"), "127.0.0.1", 0
        )
        server.port = listening.sockets[0].getsockname()[1]
        try:
            yield server
        finally:
            listening.close()


@asynccontextmanager
async def linked(
    server: Echo, *, connect: Callable[[], Awaitable[Any]] | None = None, was_there: bool = True
) -> AsyncIterator[Link[Any]]:
    async def straight() -> Line:
        return Line(*await asyncio.open_connection("127.0.0.1", server.port))

    def in_words(error: Exception) -> str | LocumError:
        if isinstance(error, ZeroDivisionError):
            return StoreUnavailableError("echo://", "it refuses")
        return f"it said {error}"

    link: Link[Any] = Link(
        "echo://", connect=connect or straight, in_words=in_words, was_there=lambda: was_there, clock=Clock()
    )
    try:
        yield link
    finally:
        await link.close()


def callers() -> Scope:
    """Tasks whose outcomes the test looks at itself."""
    return Scope("callers", on_error=lambda name, error: None)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(LONG):
        while not condition():  # noqa: ASYNC110 - what is waited for is a server's state, which tells nobody
            await asyncio.sleep(0.005)


async def after(duration: float, event: asyncio.Event) -> None:
    await asyncio.sleep(duration)
    event.set()


async def ask(link: Link[Any], text: str, *, timeout: float = LONG, changes: bool = True) -> str:
    return await link.call(f"ask {text}", lambda line: line.ask(text), timeout=timeout, changes=changes)


async def test_calls_are_made_in_order_on_one_connection() -> None:
    async with echo() as server, linked(server) as link, callers() as tasks:
        asking = [tasks.spawn(ask(link, f"{number}"), name="ask") for number in range(20)]
        assert [await task for task in asking] == server.lines == [f"{number}" for number in range(20)]
        assert len(server.connections) == 1


async def test_what_may_have_been_sent_is_unknown_and_the_rest_did_not_happen() -> None:
    async with echo() as server, linked(server) as link, callers() as tasks:
        first = tasks.spawn(ask(link, "silent", timeout=2 * SHORT), name="first")
        await until(lambda: server.lines)
        with pytest.raises(StoreUnavailableError, match=r"it did not get its turn within 0\.15 s"):
            await ask(link, "second", timeout=SHORT)
        with pytest.raises(OutcomeUnknownError, match=r"ask silent on echo:// may .*: no answer came within 0\.30 s"):
            await first
        assert await ask(link, "third") == "third", "on another connection"
        assert server.lines == ["silent", "third"]
        await until(lambda: len(server.connections) == 1)


async def test_what_gets_its_turn_too_late_for_an_answer_is_not_sent_and_costs_nobody_the_connection() -> None:
    async with echo() as server, linked(server) as link, callers() as tasks:
        go = asyncio.Event()

        async def until_told(line: Line) -> str:
            answer = await line.hello()
            await go.wait()
            return answer

        first = tasks.spawn(link.call("wait", until_told, timeout=LONG, changes=True), name="first")
        await until(lambda: server.lines)
        before = list(server.connections)
        second = tasks.spawn(ask(link, "silent", timeout=4 * SHORT), name="second")
        tasks.spawn(after(3.5 * SHORT, go), name="go")
        with pytest.raises(StoreUnavailableError, match="it did not get its turn"):
            await second
        assert await first == "hello"
        assert await ask(link, "third") == "third"
        assert server.lines == ["hello", "third"]
        assert server.connections == before


async def test_a_question_without_an_answer_is_a_store_that_is_not_available() -> None:
    async with echo() as server, linked(server) as link:
        with pytest.raises(StoreUnavailableError, match="no answer came"):
            await ask(link, "silent", timeout=SHORT, changes=False)


async def test_a_connection_that_breaks_is_known_to_be_in_doubt() -> None:
    async with echo() as server, linked(server) as link, callers() as tasks:
        asking = tasks.spawn(ask(link, "silent"), name="ask")
        await until(lambda: server.lines)
        server.connections[0].transport.abort()
        with pytest.raises(OutcomeUnknownError, match="it said"):
            await asking
        assert await ask(link, "again") == "again"


async def test_a_connection_that_broke_unseen_is_not_used_again() -> None:
    async with echo() as server, linked(server) as link:
        for number in range(20):
            assert await ask(link, f"{number}") == f"{number}"
            server.connections[0].transport.abort()
            await until(lambda: not server.connections)
            await asyncio.sleep(0.01)


async def test_a_refusal_leaves_the_connection_as_it_is() -> None:
    async with echo() as server, linked(server) as link:

        async def refused(line: Line) -> None:
            raise ZeroDivisionError if await line.ask("a") else AssertionError

        async def conflict(line: Line) -> None:
            raise ConflictError(await line.ask("b"), None)

        with pytest.raises(StoreUnavailableError, match="it refuses"):
            await link.call("refused", refused, timeout=LONG, changes=True)
        with pytest.raises(ConflictError):
            await link.call("conflict", conflict, timeout=LONG, changes=True)
        (connection,) = server.connections
        assert await ask(link, "c") == "c"
        assert server.connections == [connection]


async def test_a_library_that_does_not_end_is_left_behind() -> None:
    async with echo() as server, linked(server) as link, Scope("held") as held:
        free = asyncio.Event()

        async def deaf(line: Line) -> None:
            while not free.is_set():
                try:
                    await free.wait()
                except asyncio.CancelledError:
                    pass

        with pytest.raises(OutcomeUnknownError):
            await link.call("deaf", deaf, timeout=SHORT, changes=True)
        assert await ask(link, "next") == "next"
        closing = held.spawn(link.close(), name="close")
        async with asyncio.timeout(LONG):
            await closing
        free.set()


async def test_a_caller_that_goes_before_its_turn_leaves_nothing_behind() -> None:
    async with echo() as server, linked(server) as link, callers() as tasks:
        first = tasks.spawn(ask(link, "silent"), name="first")
        await until(lambda: server.lines)
        second = tasks.spawn(ask(link, "second"), name="second")
        await asyncio.sleep(0)
        await cancel_and_wait(second)
        server.connections[0].write(b"loud\n")
        assert await first == "loud"
        assert await ask(link, "third") == "third"
        assert server.lines == ["silent", "third"]


async def test_what_was_sent_goes_on_without_its_caller() -> None:
    async with echo() as server, linked(server) as link, callers() as tasks:
        first = tasks.spawn(ask(link, "silent"), name="first")
        await until(lambda: server.lines)
        await cancel_and_wait(first)
        second = tasks.spawn(ask(link, "second"), name="second")
        await asyncio.sleep(0)
        (connection,) = server.connections
        connection.write(b"late\n")
        assert await second == "second", "and has no other call's answer"
        assert server.connections == [connection]


async def test_what_goes_on_without_its_caller_ends_by_its_deadline() -> None:
    async with echo() as server, linked(server) as link, callers() as tasks:
        first = tasks.spawn(ask(link, "silent", timeout=SHORT), name="first")
        await until(lambda: server.lines)
        await cancel_and_wait(first)
        assert await ask(link, "second") == "second"


async def test_a_server_that_cannot_be_reached_is_tried_again_now_and_then() -> None:
    tries = 0

    async def connect() -> Line:
        nonlocal tries
        tries += 1
        raise ConnectionRefusedError("nobody is there")

    async with echo() as server, linked(server, connect=connect) as link:
        end = asyncio.get_running_loop().time() + 1.0
        while asyncio.get_running_loop().time() < end:
            with pytest.raises(StoreUnavailableError, match="it said nobody is there"):
                await ask(link, "a", timeout=SHORT)
        assert 1 < tries < 20, "it pauses between two tries"


async def test_connecting_ends_by_the_deadline_and_what_comes_too_late_is_cut() -> None:
    late: list[Line] = []
    free = asyncio.Event()

    async def connect() -> Line:
        line = Line(*await asyncio.open_connection("127.0.0.1", server.port))
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                pass
        late.append(line)
        return line

    async with echo() as server, linked(server, connect=connect) as link:
        with pytest.raises(StoreUnavailableError, match="there was no connection within"):
            await ask(link, "a", timeout=SHORT)
        free.set()
        await until(lambda: late and not server.connections)
        assert server.lines == []


@pytest.mark.parametrize(("was_there", "error"), [(False, ConfigurationError), (True, StoreUnavailableError)])
async def test_what_was_right_once_is_never_called_wrong(was_there: bool, error: type[Exception]) -> None:
    async def connect() -> Line:
        raise ConfigurationError("the password is wrong")

    async with echo() as server, linked(server, connect=connect, was_there=was_there) as link:
        with pytest.raises(error, match="the password is wrong"):
            await ask(link, "a")


async def test_calls_end_when_the_link_is_closed() -> None:
    async with echo() as server, linked(server) as link, callers() as tasks:
        first = tasks.spawn(ask(link, "silent"), name="first")
        second = tasks.spawn(ask(link, "second"), name="second")
        await until(lambda: server.lines)
        await link.close()
        with pytest.raises(OutcomeUnknownError, match="no answer came before the connection was closed"):
            await first
        with pytest.raises(StoreUnavailableError, match="it did not get its turn before the connection was closed"):
            await second
        with pytest.raises(StoreUnavailableError, match="this connection is not open"):
            await ask(link, "third")
        await until(lambda: not server.connections)


async def test_whoever_stays_has_a_new_connection_when_the_old_one_breaks() -> None:
    async with echo() as server, linked(server) as link, Scope("listeners") as listeners:
        begun: list[str] = []

        async def listen(line: Line) -> None:
            begun.append(await line.hello())
            await line.ask("silent")

        listeners.spawn(link.stay(listen, timeout=LONG), name="stay")
        while len(begun) < 4:
            expected = len(begun) + 1
            await until(lambda: len(begun) >= expected)  # noqa: B023 - it is asked here
            server.connections[0].transport.abort()


async def test_a_forked_child_is_refused_and_leaves_its_parents_connection_alone() -> None:
    async with echo() as server, linked(server) as link:
        assert await ask(link, "a") == "a"
        assert link._connection is not None
        fd = link._connection.writer.get_extra_info("socket").fileno()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                link.call("b", Line.hello, timeout=LONG, changes=True).send(None)
            except ForkedError:
                os.write(fd, b"from the child\n")
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0  # noqa: ASYNC222 - the child does nothing that waits
        assert await ask(link, "c") == "c"
        assert server.lines == ["a", "c"]
