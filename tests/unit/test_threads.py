"""A thread of one's own: calls in order, outcomes, and a caller that cannot forget it."""

from __future__ import annotations

import asyncio
import contextvars
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from locum.threads import OwnThread
from tests.unit.kit import LONG, soon, turns, until

if TYPE_CHECKING:
    from collections.abc import Iterator

name: contextvars.ContextVar[str] = contextvars.ContextVar("name")


@pytest.fixture
def thread() -> Iterator[OwnThread]:
    thread = OwnThread("body of settlement")
    yield thread
    thread.close()


class Held:
    """A call that waits in its thread until it is let go."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.go, self.begun, self.ended = threading.Event(), threading.Event(), False
        self._error = error

    def __call__(self) -> str:
        self.begun.set()
        assert self.go.wait(LONG)
        self.ended = True
        if self._error is not None:
            raise self._error
        return "done"


async def test_calls_are_made_one_after_another_in_one_named_daemon_thread(thread: OwnThread) -> None:
    first, second = await soon(thread.call(threading.current_thread)), await soon(thread.call(threading.current_thread))
    assert first is second
    assert first is not threading.current_thread()
    assert (first.name, first.daemon) == ("body of settlement", True)


async def test_there_is_no_thread_before_the_first_call_and_none_after_the_close(thread: OwnThread) -> None:
    before = threading.active_count()
    OwnThread("unused").close()
    assert threading.active_count() == before
    made = await soon(thread.call(threading.current_thread))
    thread.close()
    await until(lambda: not made.is_alive(), "the thread's end")


async def test_a_call_sees_a_copy_of_its_callers_context(thread: OwnThread) -> None:
    def call() -> str:
        seen = name.get()
        name.set("changed in the thread")
        return seen

    name.set("web-1")
    assert await soon(thread.call(call)) == "web-1"
    assert name.get() == "web-1"


@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
async def test_whatever_a_call_raises_comes_back_and_the_thread_lives_on(
    thread: OwnThread, error: BaseException
) -> None:
    def fails() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        await soon(thread.call(fails))
    assert raised.value is error
    assert await soon(thread.call(lambda: 7)) == 7


async def test_what_no_future_can_hold_comes_back_as_something_else(thread: OwnThread) -> None:
    def fails() -> Any:
        return next(iter(()))

    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await soon(thread.call(fails))


async def test_a_cancelled_caller_is_cancelled_only_when_its_call_has_ended(thread: OwnThread) -> None:
    held = Held()
    caller = asyncio.ensure_future(thread.call(held))
    await until(held.begun.is_set, "the call")
    for _ in range(3):
        caller.cancel()
        await turns()
        assert not caller.done(), "a running thread was forgotten"
    held.go.set()
    await soon(asyncio.wait([caller]))
    assert caller.cancelled()
    assert held.ended


async def test_an_error_of_a_cancelled_call_is_kept(thread: OwnThread) -> None:
    held = Held(ValueError("while ending"))
    caller = asyncio.ensure_future(thread.call(held))
    await until(held.begun.is_set, "the call")
    caller.cancel()
    await turns()
    held.go.set()
    with pytest.raises(ValueError, match="while ending"):
        await soon(caller)


def test_a_call_that_never_ends_holds_up_no_exit() -> None:
    program = """
import asyncio, sys, threading
from locum.threads import OwnThread

async def main():
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    def for_ever():
        loop.call_soon_threadsafe(begun.set)
        threading.Event().wait()
    waiting = asyncio.ensure_future(OwnThread("stuck").call(for_ever))
    await begun.wait()
    sys.exit(7)

loop = asyncio.new_event_loop()
try:
    loop.run_until_complete(main())
finally:
    sys.stdout.write("left")
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LONG)
    assert (found.returncode, found.stdout) == (7, "left"), found.stderr
