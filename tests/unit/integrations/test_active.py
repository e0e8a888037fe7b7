"""An application that only the active instance serves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from locum.coordination.client import ACTIVE, ENDED, NO, TOKEN
from locum.integrations.active import ActiveOnly
from tests.unit.kit import instance, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.coordination.term import Term
    from locum.testing.instances import Instance


class Application:
    """What stands behind; `meanwhile` happens while it is at work."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.meanwhile: Callable[[], object] = lambda: None

    async def __call__(self, scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        self.tokens.append(scope["locum.term"].token)
        self.meanwhile()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
        await send({"type": "http.response.body", "body": b"done", "more_body": False})


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Instance]:
    async with instance(tmp_path / "store.db", "one") as one:
        yield one


@pytest.fixture
async def term(one: Instance) -> Term:
    return await soon(one.election("invoices").win())


async def ask(app: ActiveOnly, **headers: str) -> httpx2.Response:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://one") as client:
        return await client.get("/", headers=headers)


async def test_only_under_a_term_is_anybody_served_and_told_its_token(term: Term) -> None:
    behind = Application()
    app = ActiveOnly(behind)
    refused = await ask(app)
    assert (refused.status_code, refused.headers[ACTIVE], TOKEN in refused.headers) == (503, NO, False)
    with app.during(term):
        served = await ask(app)
        assert (served.status_code, served.text) == (200, "done")
        assert (served.headers[TOKEN], served.headers["x"]) == (str(term.token), "y")
    assert (await ask(app)).headers[ACTIVE] == NO
    assert behind.tokens == [term.token]


async def test_a_request_for_another_term_is_not_done(term: Term) -> None:
    behind = Application()
    app = ActiveOnly(behind)
    with app.during(term):
        assert (await ask(app, **{TOKEN: str(term.token + 1)})).headers[ACTIVE] == NO
        assert (await ask(app, **{TOKEN: str(term.token)})).status_code == 200
    assert behind.tokens == [term.token]


async def test_a_term_that_is_over_serves_nobody_though_its_block_still_runs(one: Instance, term: Term) -> None:
    behind = Application()
    app = ActiveOnly(behind)
    with app.during(term):
        one.leases.lose("was silent")
        assert (await ask(app)).headers[ACTIVE] == NO
    assert behind.tokens == []


async def test_f66_no_answer_is_begun_when_the_term_has_ended_meanwhile(one: Instance, term: Term) -> None:
    behind = Application()
    app = ActiveOnly(behind)
    behind.meanwhile = lambda: one.leases.lose("was silent")
    with app.during(term):
        ended = await ask(app)
    assert (ended.status_code, ended.headers.get(ACTIVE), TOKEN in ended.headers) == (503, ENDED, False)
    assert ended.text == "not active here any more\n"


async def test_what_is_no_request_is_passed_on() -> None:
    seen: list[str] = []

    async def behind(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    await ActiveOnly(behind)({"type": "lifespan"}, _nothing, _nothing)
    assert seen == ["lifespan"]


async def test_a_web_socket_is_closed_where_nobody_is_active() -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    await ActiveOnly(Application())({"type": "websocket", "headers": []}, _nothing, send)
    assert said == [{"type": "websocket.close", "code": 1013, "reason": "Locum-Active: no"}]


async def _nothing(*_: object) -> None:
    """Says nothing."""
