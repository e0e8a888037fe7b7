"""Tasks that end with their owner, and waiting that is not fooled by cancellation."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from locum.scopes import Backoff, Scope, cancel_and_wait, finish, happens, own_loop, post, run_in
from tests.unit.kit import soon, turns


class Stubborn:
    """A task that ignores cancellation until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.cancelled = 0
        self.ended = False
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> str:
        while not self.go.is_set():
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
        self.ended = True
        return "done"


async def fails(error: BaseException) -> None:
    raise error


# -- cancel_and_wait, finish


async def test_a_cancelled_task_is_awaited_to_its_very_end() -> None:
    steps = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await turns(5)
            steps.append("cleaned up")

    task = asyncio.ensure_future(work())
    await turns(1)
    assert await cancel_and_wait(task)
    assert steps == ["cleaned up"]
    assert task.cancelled()


async def test_a_task_that_ignores_its_cancellation_is_waited_for() -> None:
    stubborn = Stubborn()
    await turns(1)
    waiting = asyncio.ensure_future(cancel_and_wait(stubborn.task))
    await turns()
    assert (waiting.done(), stubborn.cancelled) == (False, 1)
    stubborn.go.set()
    assert await soon(waiting)
    assert stubborn.task.result() == "done"


async def test_a_task_that_ignores_it_for_longer_than_the_timeout_is_told_of() -> None:
    stubborn = Stubborn()
    await turns(1)
    assert not await cancel_and_wait(stubborn.task, timeout=0.01)
    assert not stubborn.task.done()
    stubborn.go.set()
    await soon(stubborn.task)


@pytest.mark.parametrize("timeout", [None, 20.0])
async def test_a_caller_that_is_cancelled_meanwhile_still_waits_and_then_is_cancelled(timeout: float | None) -> None:
    stubborn = Stubborn()
    await turns(1)
    waiting = asyncio.ensure_future(cancel_and_wait(stubborn.task, timeout=timeout))
    await turns()
    waiting.cancel()
    await turns()
    assert not waiting.done()
    waiting.cancel()  # and once more
    await turns()
    assert not waiting.done()
    stubborn.go.set()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert stubborn.ended


async def test_a_caller_that_is_cancelled_meanwhile_is_cancelled_when_the_time_is_up() -> None:
    stubborn = Stubborn()
    await turns(1)
    waiting = asyncio.ensure_future(cancel_and_wait(stubborn.task, timeout=0.02))
    await turns()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert not stubborn.task.done()
    stubborn.go.set()
    await soon(stubborn.task)


async def test_what_has_ended_is_not_cancelled_and_keeps_its_outcome() -> None:
    task = asyncio.ensure_future(asyncio.sleep(0, "result"))
    await task
    assert await cancel_and_wait(task)
    assert task.result() == "result"


async def test_the_outcome_of_what_is_waited_for_stays_with_it() -> None:
    task = asyncio.ensure_future(fails(ValueError("mine")))
    assert await finish(task)
    with pytest.raises(ValueError, match="mine"):
        task.result()


# -- happens


async def test_what_happens_in_time_happens() -> None:
    assert await happens(asyncio.sleep(0), within=20)
    assert await happens(asyncio.sleep(0), within=None)


async def test_what_does_not_happen_in_time_is_cancelled() -> None:
    waiting = asyncio.get_running_loop().create_future()
    assert not await happens(waiting, within=0.01)
    assert waiting.cancelled()


async def test_an_error_is_not_taken_for_time_that_is_up() -> None:
    with pytest.raises(ValueError, match="mine"):
        await happens(fails(ValueError("mine")), within=20)


# -- Scope


async def test_a_scope_ends_its_tasks_and_waits_for_them() -> None:
    ended: list[int] = []

    async def work(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await turns(3)
            ended.append(number)

    async with Scope("test") as scope:
        for number in range(3):
            scope.spawn(work(number), name=str(number))
        await turns()
    assert sorted(ended) == [0, 1, 2]


async def test_an_error_is_told_at_once_with_the_tasks_name() -> None:
    told = []
    async with Scope("house", on_error=lambda name, error: told.append((name, str(error)))) as scope:
        scope.spawn(fails(ValueError("boom")), name="kitchen")
        await turns()
        assert told == [("house: kitchen", "boom")]


async def test_errors_that_nobody_was_told_of_are_raised_at_the_end() -> None:
    scope = Scope("test")
    scope.spawn(fails(ValueError("one")), name="one")
    scope.spawn(fails(KeyError("two")), name="two")
    await turns()
    (group,) = await asyncio.gather(scope.close(), return_exceptions=True)
    assert isinstance(group, ExceptionGroup)
    assert "tasks of test failed" in str(group)
    assert {type(error) for error in group.exceptions} == {ValueError, KeyError}


async def test_an_error_in_the_very_moment_of_the_close_is_not_lost() -> None:
    scope = Scope("test")
    task = scope.spawn(fails(ValueError("late")), name="late")
    await asyncio.sleep(0)
    assert task.done(), "it has ended, and the scope has not been called back yet"
    with pytest.raises(ExceptionGroup):
        await scope.close()


async def test_an_error_while_a_task_is_ended_is_raised() -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while ending")

    scope = Scope("test")
    scope.spawn(work(), name="work")
    await turns()
    with pytest.raises(ExceptionGroup) as group:
        await scope.close()
    assert str(group.value.exceptions[0]) == "while ending"


async def test_a_close_that_is_cancelled_ends_every_task_before_it_is() -> None:
    scope = Scope("test")
    tasks: list[asyncio.Task[Any]] = []
    gates = [asyncio.Event() for _ in range(3)]

    async def work(gate: asyncio.Event) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await gate.wait()

    for number, gate in enumerate(gates):
        tasks.append(scope.spawn(work(gate), name=str(number)))
    await turns()
    closing = asyncio.ensure_future(scope.close())
    await turns()
    closing.cancel()
    await turns()
    for gate in gates:
        gate.set()
    await asyncio.wait([closing])
    assert closing.cancelled()
    assert all(task.done() for task in tasks)


async def test_a_task_that_closes_its_own_scope_is_not_waited_for() -> None:
    scope = Scope("test")
    task = scope.spawn(scope.close(), name="closer")
    await soon(task)


async def test_a_closed_scope_starts_nothing() -> None:
    scope = Scope("test")
    await scope.close()
    with pytest.raises(RuntimeError, match="the scope test is closed: late was not started"):
        scope.spawn(asyncio.sleep(0), name="late")


# -- Backoff


def test_delays_double_up_to_the_longest_with_jitter_over_the_upper_half() -> None:
    for _ in range(50):
        backoff = Backoff(1.0, 5.0)
        for base in (1.0, 2.0, 4.0, 5.0, 5.0):
            assert base / 2 <= backoff.delay() <= base
        backoff.reset()
        assert backoff.delay() <= 1.0


def test_delays_are_not_all_the_same() -> None:
    assert len({Backoff(1.0, 5.0).delay() for _ in range(20)}) > 1


# -- from thread to loop


async def test_a_thread_waits_for_a_coroutine_in_the_loop() -> None:
    loop = asyncio.get_running_loop()

    async def where() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    assert await soon(asyncio.to_thread(run_in, loop, where())) is loop
    with pytest.raises(ValueError, match="boom"):
        await soon(asyncio.to_thread(run_in, loop, fails(ValueError("boom"))))


async def test_waiting_for_a_loop_from_inside_a_loop_is_refused() -> None:
    with pytest.raises(RuntimeError, match="a blocking call was made in a thread whose event loop runs"):
        run_in(asyncio.get_running_loop(), turns())
    with pytest.raises(RuntimeError, match="a blocking call was made in a thread whose event loop runs"), own_loop():
        pass


def test_waiting_for_a_loop_that_is_closed_is_refused() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        run_in(loop, turns())
    post(loop, lambda: None)  # nobody is left whom it would concern


async def test_a_loop_of_ones_own_is_in_this_very_thread() -> None:
    async def where() -> int:
        await asyncio.sleep(0)
        return threading.get_ident()

    def work() -> list[int]:
        with own_loop() as run:
            return [run(where()), run(where()), threading.get_ident()]

    assert len(set(await soon(asyncio.to_thread(work)))) == 1


async def test_what_is_posted_happens_at_once_here_and_soon_from_elsewhere() -> None:
    loop, seen = asyncio.get_running_loop(), asyncio.Event()
    post(loop, seen.set)
    assert seen.is_set()
    seen.clear()
    await soon(asyncio.to_thread(post, loop, seen.set))
    await soon(seen.wait())
