"""The client of a service: whom it asks, which answers it takes, and what it sends again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
import pytest

from locum.coordination.client import ACTIVE, ENDED, NO, TOKEN, ServiceClient
from locum.coordination.naming import Endpoint
from locum.coordination.presence import Presence
from locum.errors import NotActiveError, UnansweredError
from locum.floor import Floor
from locum.scopes import Scope, told_by_result
from tests.unit.kit import LONG, opened, soon, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.testing.instances import Instance

Handler = Callable[[httpx2.Request], Awaitable[httpx2.Response]]


class Servers:
    """Those that stand behind the addresses, in this process, and where they are published."""

    def __init__(self, one: Instance) -> None:
        self._one = one
        self.handlers: dict[str, Handler] = {}
        self.asked: list[str] = []
        """Who was asked, in order."""

    @asynccontextmanager
    async def published(self, host: str, token: int) -> AsyncIterator[None]:
        endpoint = Endpoint(service="invoices", address=f"http://{host}", instance=host, token=token)
        async with Presence(self._one.commons, "endpoints/invoices", endpoint.to_bytes()).kept():
            yield

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.url.host)
        return await self.handlers[request.url.host](request)


def says(token: int, text: str = "", **headers: str) -> Handler:
    """An active one."""

    async def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={TOKEN: str(token), **headers}, text=text)

    return answer


def turns_away(why: str) -> Handler:
    """One that serves nobody."""

    async def answer(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(503, headers={ACTIVE: why})

    return answer


def fails(error: type[httpx2.TransportError]) -> Handler:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        raise error("it broke", request=request)

    return answer


class Silent:
    """One that answers only when it is let."""

    def __init__(self, token: int) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self._token = token

    async def __call__(self, _request: httpx2.Request) -> httpx2.Response:
        self.reached.set()
        await self.go.wait()
        return httpx2.Response(200, headers={TOKEN: str(self._token)}, text="late")


@pytest.fixture
def servers(one: Instance) -> Servers:
    return Servers(one)


@pytest.fixture
async def client(one: Instance, servers: Servers) -> AsyncIterator[ServiceClient]:
    transport = httpx2.MockTransport(servers.answer)
    async with ServiceClient(one.commons, "invoices", timeout=LONG, transport=transport) as client:
        yield client


async def test_the_one_with_the_highest_token_is_asked_for_its_term(client: ServiceClient, servers: Servers) -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        said = f"{request.method} {request.url} {request.headers[TOKEN]} {request.headers['x']} {request.content!r}"
        return httpx2.Response(404, headers={TOKEN: "2"}, text=said)

    servers.handlers = {"old": says(1), "new": answer}
    async with servers.published("new", 2), servers.published("old", 1):
        got = await client.post("/42", headers={"x": "y"}, content=b"z")
    assert got.text == "POST http://new/42 2 y b'z'"
    assert got.status_code == 404, "what the active one answers is the answer"


async def test_it_waits_until_there_is_one(client: ServiceClient, servers: Servers) -> None:
    servers.handlers = {"new": says(1, "here")}
    async with Scope("call") as scope:
        calling = scope.spawn(client.get("/"), name="call")
        async with servers.published("new", 1):
            assert (await soon(calling)).text == "here"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("first", [turns_away(NO), fails(httpx2.ConnectError)])
async def test_what_was_not_done_is_sent_again_to_the_next(
    client: ServiceClient, servers: Servers, first: Handler, method: str
) -> None:
    servers.handlers = {"old": first, "new": says(2, "done")}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(servers.published("old", 1))
        scope = await stack.enter_async_context(Scope("call"))
        calling = scope.spawn(client.request(method, "/"), name="call")
        await until(lambda: servers.asked.count("old") > 2, "more than one try")
        await stack.enter_async_context(servers.published("new", 2))
        assert (await soon(calling)).text == "done"


@pytest.mark.parametrize("first", [fails(httpx2.ReadError), turns_away(ENDED), says(1, **{TOKEN: "7"})])
async def test_what_may_have_been_done_is_sent_again_only_if_that_may_be(
    client: ServiceClient, servers: Servers, first: Handler
) -> None:
    servers.handlers = {"old": first, "new": says(2, "done")}
    async with servers.published("old", 1):
        with pytest.raises(UnansweredError, match="POST http://old may or may not have been done by invoices"):
            await client.post("/")
        assert servers.asked == ["old"]
        async with Scope("call") as scope:
            calling = scope.spawn(client.post("/", repeatable=True), name="call")
            await until(lambda: servers.asked.count("old") > 2, "more than one try")
            async with servers.published("new", 2):
                assert (await soon(calling)).text == "done"


async def test_a_stranger_at_the_address_is_not_taken_for_the_active_one(
    client: ServiceClient, servers: Servers
) -> None:
    async def stranger(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, text="welcome")

    servers.handlers = {"old": stranger}
    async with servers.published("old", 1):
        with pytest.raises(NotActiveError, match=r"answered 200 and not in the term 1: is it behind .*ActiveOnly"):
            await client.get("/", timeout=0.2)


async def test_f66_a_deposed_address_is_never_asked_again(client: ServiceClient, servers: Servers) -> None:
    servers.handlers = {"old": says(1, "old"), "new": says(2, "new")}
    async with servers.published("old", 1):
        assert (await client.get("/")).text == "old"
        async with servers.published("new", 2):
            while (await client.get("/")).text != "new":
                pass
        servers.asked.clear()
        await until(
            lambda: client._known[""].endpoint is None or client._known[""].endpoint.token != 2,
            "the new one's end to be seen",
        )
        with pytest.raises(NotActiveError):
            await client.get("/", timeout=0.2)
    assert servers.asked == []


async def test_f66_an_answer_is_not_taken_when_somebody_else_has_followed(
    client: ServiceClient, servers: Servers
) -> None:
    silent = Silent(1)
    servers.handlers = {"old": silent, "new": says(2, "new")}
    async with servers.published("old", 1), Scope("call", on_error=told_by_result) as scope:
        calling = scope.spawn(client.get("/"), name="call")
        await soon(silent.reached.wait())
        async with servers.published("new", 2):
            assert (await soon(calling)).text == "new", "it waits for the silent one no longer"
            other = Silent(2)
            servers.handlers["new"] = other
            posting = scope.spawn(client.post("/"), name="call")
            await soon(other.reached.wait())
            async with servers.published("third", 3):
                with pytest.raises(UnansweredError, match="was followed by another one before it answered"):
                    await soon(posting)


async def test_f66_an_answer_that_comes_with_the_news_of_another_one_is_not_taken(
    client: ServiceClient, servers: Servers
) -> None:
    async def overtaken(_request: httpx2.Request) -> httpx2.Response:
        await stack.enter_async_context(servers.published("new", 2))
        client._known[""].highest = 2  # as it is when the watch's news and the answer are there in one turn of the loop
        return httpx2.Response(200, headers={TOKEN: "1"}, text="old")

    servers.handlers = {"old": overtaken, "new": says(2, "new")}
    async with servers.published("old", 1), AsyncExitStack() as stack:
        assert (await client.get("/")).text == "new"


async def test_the_deadline_holds_over_all_tries_and_says_what_became_of_the_last(
    client: ServiceClient, servers: Servers
) -> None:
    with pytest.raises(NotActiveError, match=r"invoices answered within 0.1 s: none has published its address"):
        await client.get("/", timeout=0.1)
    servers.handlers = {"old": turns_away(NO), "slow": Silent(2)}
    async with servers.published("old", 1):
        with pytest.raises(TimeoutError, match="says that it is not active in the term 1"):
            await client.post("/", timeout=0.3)
        async with servers.published("slow", 2):
            await until(
                lambda: client._known[""].endpoint is not None and client._known[""].endpoint.token == 2, "the slow one"
            )
            with pytest.raises(NotActiveError, match="http://slow has not answered"):
                await client.get("/", timeout=0.5)
            with pytest.raises(UnansweredError, match="http://slow has not answered"):
                await client.post("/", timeout=0.5)


async def test_outside_its_block_it_says_how_it_is_used(one: Instance) -> None:
    client = ServiceClient(one.commons, "invoices")
    client._known[""].endpoint = Endpoint(service="invoices", address="http://a", instance="a", token=1)
    with pytest.raises(RuntimeError, match="used as a context"):
        await client.get("/")


async def test_a_store_that_forgot_the_token_that_was_seen_is_told_it(
    one: Instance, client: ServiceClient, servers: Servers, tmp_path: Path
) -> None:
    servers.handlers = {"old": says(500, "old")}
    async with servers.published("old", 500):
        assert (await client.get("/")).text == "old"
    async with opened(tmp_path / "store.db") as operator:
        await operator.renew(max_ttl=1)
        one.leases.lose("the store has begun a new incarnation")
        one.leases._store = operator  # a keeper has a connection of its own
        await one.leases.begin()
        async with asyncio.timeout(LONG):
            while (await Floor.read(operator)).token < 500:  # noqa: ASYNC110 - the client's watch meets it by itself
                await asyncio.sleep(0.002)
