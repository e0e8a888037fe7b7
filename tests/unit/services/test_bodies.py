"""One run of a body: how it ends, and how it is ended."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from locum.errors import StopTimeoutError, TermEndedError
from locum.scopes import Scope
from locum.services.bodies import Body
from locum.threads import OwnThread
from tests.unit.kit import LONG, soon, turns, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def scope() -> AsyncIterator[Scope]:
    async with Scope("test") as scope:
        yield scope


async def returns() -> str:
    return "anything"


async def fails(error: BaseException) -> None:
    raise error


async def waits() -> None:
    await asyncio.Event().wait()


async def test_a_body_that_returns_has_no_error(scope: Scope) -> None:
    body = Body("metrics", returns(), scope=scope)
    assert body.error is None
    await soon(body.ended())
    assert body.task.done()
    assert body.error is None


@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
async def test_whatever_a_body_raises_is_its_owners_to_judge(scope: Scope, error: BaseException) -> None:
    body = Body("metrics", fails(error), scope=scope)
    await soon(body.ended())
    assert body.error is error


async def test_a_body_that_is_ended_is_cancelled_and_has_no_error(scope: Scope) -> None:
    body = Body("metrics", waits(), scope=scope)
    await turns(1)
    await soon(body.end(timeout=20))
    assert body.task.cancelled()
    assert body.error is None


async def test_an_error_while_it_is_ended_is_kept(scope: Scope) -> None:
    async def work() -> None:
        try:
            await waits()
        finally:
            raise ValueError("while ending")

    body = Body("metrics", work(), scope=scope)
    await turns(1)
    await soon(body.end(timeout=20))
    assert str(body.error) == "while ending"


async def test_a_body_that_asks_and_is_told_of_its_end_is_cancelled_like_any_other(scope: Scope) -> None:
    async def work() -> None:
        try:
            await waits()
        except asyncio.CancelledError:
            raise TermEndedError("election/settlement", 7, "was asked to resign") from None

    body = Body("metrics", work(), scope=scope)
    await turns(1)
    await soon(body.end(timeout=20))
    assert body.task.cancelled()
    assert body.error is None


async def test_a_term_that_is_over_is_an_error_of_a_body_that_nobody_ended(scope: Scope) -> None:
    body = Body("metrics", fails(TermEndedError("election/settlement", 7, "was asked to resign")), scope=scope)
    await soon(body.ended())
    assert isinstance(body.error, TermEndedError)


async def test_a_body_in_a_thread_has_ended_when_its_thread_has(scope: Scope) -> None:
    go, begun, thread = threading.Event(), threading.Event(), OwnThread("body")

    def work() -> None:
        begun.set()
        assert go.wait(LONG)

    body = Body("metrics", thread.call(work), scope=scope)
    await until(begun.is_set, "the thread")
    with pytest.raises(StopTimeoutError):
        await body.end(timeout=0.01)
    assert not body.task.done(), "the thread was forgotten"
    go.set()
    await soon(body.ended())
    assert body.task.cancelled()
    thread.close()


async def test_a_body_that_would_not_end_is_told_of_with_its_service(scope: Scope) -> None:
    go = asyncio.Event()

    async def stubborn() -> None:
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue

    body = Body("metrics", stubborn(), scope=scope)
    await turns(1)
    with pytest.raises(StopTimeoutError, match=r"metrics did not stop within 0\.01 s"):
        await body.end(timeout=0.01)
    assert not body.task.done()
    go.set()
    await soon(body.ended())


async def test_a_body_is_ended_with_its_scope() -> None:
    async with Scope("test") as scope:
        body = Body("metrics", waits(), scope=scope)
        await turns(1)
    assert body.task.cancelled()
