"""An ASGI listener's sockets: what they send at once, who is heard at the end, and that nobody waits for a clock."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing
from typing import Any, Final

import httpx2
import pytest

from locum.coordination.client import ACTIVE, NO
from locum.scopes import finish
from locum.services.asgi import AsgiListener
from tests.unit.kit import LONG, soon, turns, until

FEW: Final = 1000  # turns of a loop that has nothing else to do: some milliseconds, and none of them by a clock


class Slow:
    """An application that answers when it may."""

    def __init__(self) -> None:
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        self.asked.set()
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


async def opened(app: Any, **settings: Any) -> tuple[AsgiListener, str]:
    """A listener that serves, and its URL."""
    listener = AsgiListener(app, **settings)
    address = await listener.open()
    listener.gate.open()
    return listener, address


def connections(listener: AsgiListener) -> list[Any]:
    """What is open to it."""
    assert listener._serving is not None
    return list(listener._serving._server.server_state.connections)


async def test_what_is_answered_is_sent_at_once() -> None:
    app = Slow()
    app.may_answer.set()
    listener, address = await opened(app)
    async with httpx2.AsyncClient() as client:
        assert (await client.get(address)).text == "ok"
        (one,) = connections(listener)
        accepted = one.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), "a body that waits for an answer: 40 ms"
    await listener.close()


async def test_its_end_waits_for_no_clock() -> None:
    app = Slow()
    app.may_answer.set()
    listener, address = await opened(app)
    async with httpx2.AsyncClient() as client:
        assert (await client.get(address)).text == "ok"
        assert connections(listener), "one that is idle, and kept"
        closing_it = asyncio.create_task(listener.close())
        taken = 0
        while not closing_it.done():
            await asyncio.sleep(0)
            taken += 1
        await closing_it
    assert taken < FEW


async def test_who_is_in_is_answered_before_it_has_ended() -> None:
    app = Slow()
    listener, address = await opened(app)
    async with httpx2.AsyncClient() as client, asyncio.TaskGroup() as group:
        answer = group.create_task(client.get(address))
        await soon(app.asked.wait())
        closing_it = group.create_task(listener.close())
        await turns()
        assert not closing_it.done()
        app.may_answer.set()
        await soon(asyncio.shield(closing_it))
        assert connections(listener) == []
    assert answer.result().text == "ok"


async def test_who_is_not_answered_in_time_is_cut_off() -> None:
    app = Slow()
    listener, address = await opened(app, drain=0.2)
    async with httpx2.AsyncClient(timeout=LONG) as client:
        asking = asyncio.create_task(client.get(address))
        await soon(app.asked.wait())
        assert await finish(asyncio.create_task(listener.close()), timeout=LONG)
        assert (await asking).status_code == 500


@pytest.mark.parametrize("is_accepted", [True, False])
async def test_what_has_come_when_it_ends_is_told_that_nothing_was_done(is_accepted: bool) -> None:
    """Cut off, the caller of something that must not be repeated would know nothing."""
    app = Slow()
    app.may_answer.set()
    listener, address = await opened(app)
    host, port = address.removeprefix("http://").split(":")
    with closing(socket.create_connection((host, int(port)))) as caller:
        if is_accepted:
            await until(lambda: connections(listener), "the connection")
        caller.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await listener.close()
        caller.settimeout(LONG)
        try:
            head = (await asyncio.to_thread(caller.recv, 4096)).decode("latin-1").lower()
        except ConnectionResetError:
            head = ""
    assert head.startswith("http/1.1 503"), head or "it was cut off"
    assert f"{ACTIVE}: {NO}".lower() in head
    assert not app.asked.is_set()


async def test_an_abort_cuts_everyone_off() -> None:
    app = Slow()
    listener, address = await opened(app, drain=3600)
    async with httpx2.AsyncClient(timeout=LONG) as client:
        asking = asyncio.create_task(client.get(address))
        await soon(app.asked.wait())
        listener.abort()
        with pytest.raises(httpx2.RemoteProtocolError):
            await soon(asking)
    assert listener._serving is not None
    await soon(listener._serving.over())
