"""Services that handle messages: acks, nacks, back-pressure, concurrency, failures, and the end."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Self

import pytest

from locum import blocking
from locum.clock import Clock
from locum.context import under
from locum.errors import ConfigurationError, WorkQueueClosedError, WorkQueueFullError
from locum.scopes import cancel_and_wait
from locum.service import Stopping
from locum.services.consumer import Consumer, ConsumerService, Delivery, Source, check_workers
from locum.services.work_queue import WorkQueue
from tests.unit.kit import soon, turns, until
from tests.unit.services.house import House

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Broker:
    """A source that notes what it is told; messages that were given back stand in line again.

    Attributes:
        taken: What was given out, in order.
        said: Each word that it was told.
    """

    def __init__(self, *messages: str, ends: bool = False, slow: tuple[str, ...] = ()) -> None:
        self.taken: list[str] = []
        self.said: list[str] = []
        self.left = False
        self.go = asyncio.Event()
        self._messages, self._ends, self._slow = list(messages), ends, slow

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.left = True

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        if not self._messages:
            if self._ends:
                raise StopAsyncIteration
            await asyncio.Event().wait()
        self.taken.append(self._messages.pop(0))
        return self.taken[-1]

    async def ack(self, message: str) -> None:
        await self._hear("ack", message)

    async def nack(self, message: str) -> None:
        await self._hear("nack", message)

    async def _hear(self, word: str, message: str) -> None:
        if word in self._slow:
            await self.go.wait()
        self.said.append(f"{word} {message}")


class Running:
    """A consumer that runs."""

    def __init__(
        self, source: Any, handler: Callable[..., Any], *, workers: int = 1, drains: bool = False, **hints: Any
    ) -> None:
        self.house = House()
        self.context = Stopping("orders", clock=self.house.clock)

        async def open_source(call: object) -> Any:
            return source

        body = Consumer(
            "orders",
            open_source,
            Delivery.taken_by(handler, hints),
            workers=workers,
            drains=drains,
            surroundings=self.house,
        )
        self.task = asyncio.ensure_future(body.run(self.context))

    async def end(self) -> None:
        self.context.ask_to_stop(within=20.0)
        await soon(asyncio.wait([self.task]))


class Work:
    """A handler that the test watches."""

    def __init__(self) -> None:
        self.at: set[str] = set()
        self.most = 0
        self.go = asyncio.Event()

    async def handle(self, message: str) -> None:
        self.at.add(message)
        self.most = max(self.most, len(self.at))
        try:
            await self.go.wait()
        finally:
            self.at.discard(message)


async def quick(message: str) -> None: ...


async def test_what_was_handled_is_acked_and_the_end_of_the_source_is_the_bodys() -> None:
    broker = Broker("a", "b", ends=True)
    await soon(Running(broker, quick).task)
    assert broker.said == ["ack a", "ack b"]
    assert broker.left


async def test_no_more_is_taken_than_is_being_handled() -> None:
    broker, work = Broker("a", "b", "c", "d"), Work()
    running = Running(broker, work.handle, workers=2)
    await turns(60)
    assert broker.taken == ["a", "b"]
    assert work.at == {"a", "b"}
    work.go.set()
    await turns(60)
    assert broker.said == ["ack a", "ack b", "ack c", "ack d"]
    assert work.most == 2
    await running.end()


async def test_what_fails_is_given_back_with_a_pause_that_ends_with_the_body(caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker("bad", "good")

    async def handle(message: str) -> None:
        if message == "bad":
            raise ValueError("boom")

    running = Running(broker, handle)
    with caplog.at_level(logging.ERROR):
        async with asyncio.timeout(20):
            while "ack good" not in broker.said:  # noqa: ASYNC110 - a pause of real time
                await asyncio.sleep(0.01)
    assert broker.said == ["nack bad", "ack good"]
    assert "could not handle a message, and gives it back" in caplog.text
    assert "boom" in caplog.text
    await running.end()


async def test_asked_to_end_it_acks_what_is_done_and_takes_nothing_more() -> None:
    broker, work = Broker("a", "b"), Work()
    running = Running(broker, work.handle)
    await turns(60)
    running.context.ask_to_stop(within=20.0)
    await turns(60)
    assert not running.task.done(), "what is being handled ends by itself"
    work.go.set()
    await soon(running.task)
    assert (broker.taken, broker.said) == (["a"], ["ack a"])


async def test_cancelled_it_gives_back_what_was_being_handled() -> None:
    broker, work = Broker("a", "b", "c"), Work()
    running = Running(broker, work.handle, workers=2)
    await turns(60)
    assert await soon(cancel_and_wait(running.task))
    assert sorted(broker.said) == ["nack a", "nack b"]
    assert broker.left, "and only then the source is left"


@pytest.mark.parametrize("word", ["ack", "nack"])
async def test_a_word_that_is_being_said_is_said_to_its_end(word: str) -> None:
    broker, work = Broker("a", slow=(word,)), Work()
    running = Running(broker, work.handle)
    await turns(60)
    if word == "ack":
        work.go.set()
    await turns(60)
    running.task.cancel()
    await turns(60)
    assert not running.task.done()
    running.task.cancel()
    await turns(60)
    broker.go.set()
    await soon(asyncio.wait([running.task]))
    assert broker.said == [f"{word} a"]


async def test_what_comes_too_late_to_be_begun_is_given_back() -> None:
    gate = asyncio.Event()

    class Late(Broker):
        async def __anext__(self) -> str:
            await gate.wait()
            return await super().__anext__()

    broker = Late("a")
    running = Running(broker, quick)
    await turns(60)
    gate.set()
    running.context.ask_to_stop(within=20.0)
    await soon(running.task)
    assert broker.said in (["nack a"], []), "given back if it was taken"
    assert bool(broker.taken) == bool(broker.said)


@pytest.mark.parametrize("how", ["__anext__", "ack"])
async def test_a_source_that_fails_fails_the_body_and_what_is_in_hand_is_given_back(how: str) -> None:
    class Broken(Broker):
        pass

    async def fails(self: Broken, *_: object) -> Any:
        if how == "__anext__" and self._messages:
            return await Broker.__anext__(self)
        raise ConnectionError("gone")

    setattr(Broken, how, fails)
    broker, work = Broken("a"), Work()
    running = Running(broker, work.handle, workers=2)
    await turns(60)
    if how == "ack":
        work.go.set()
    with pytest.raises(ConnectionError, match="gone"):
        await soon(running.task)
    assert broker.said == (["nack a"] if how == "__anext__" else [])
    assert broker.left


async def test_messages_may_have_the_words_themselves() -> None:
    said: list[str] = []

    class Message:
        async def ack(self) -> None:
            said.append("ack")

    async def source() -> AsyncIterator[Message]:
        yield Message()

    await soon(Running(source(), quick).task)
    assert said == ["ack"]


async def test_a_plain_handler_is_called_in_a_thread_with_the_message_and_the_blocking_context() -> None:
    seen: list[tuple[str, str]] = []

    def handle(message: str, stopping: blocking.Stopping) -> None:
        seen.append((message, type(stopping).__module__))

    await soon(Running(Broker("a", ends=True), handle, message=str, stopping=blocking.Stopping).task)
    assert seen == [("a", "locum.blocking.contexts")]


async def test_a_message_may_be_of_any_type_and_a_context_needs_none() -> None:
    seen: list[object] = []

    async def handle(message: dict[str, int], context) -> None:  # type: ignore[no-untyped-def]
        seen.extend((message, type(context)))

    await soon(Running(Broker({"a": 1}, ends=True), handle, message=dict[str, int]).task)  # type: ignore[arg-type]
    assert seen == [{"a": 1}, Stopping]


def test_what_cannot_be_is_refused() -> None:
    async def handles_nothing() -> None: ...

    with pytest.raises(ConfigurationError, match="has no parameter for the message"):
        Delivery.taken_by(handles_nothing, {})
    with pytest.raises(ConfigurationError, match="at least one"):
        check_workers(0)
    with pytest.raises(ConfigurationError, match="at least one"):
        WorkQueue("mails", 0)
    with pytest.raises(NotImplementedError, match="override source"):
        ConsumerService().source()
    with pytest.raises(NotImplementedError, match="override handle"):
        ConsumerService().handle("a", None)
    assert isinstance(Broker(), Source)


# -- a queue of work


async def test_a_full_queue_makes_whoever_puts_in_more_wait() -> None:
    queue: WorkQueue[str] = WorkQueue("mails", 2)
    assert queue.try_put("a")
    await queue.put("b")
    assert not queue.try_put("c")
    waiting = asyncio.ensure_future(queue.put("c"))
    await turns()
    assert not waiting.done()
    assert await anext(queue) == "a"
    await soon(waiting)
    assert [await anext(queue), await anext(queue), len(queue)] == ["b", "c", 0]


async def test_at_the_end_nothing_more_is_taken_in_and_what_waits_is_done() -> None:
    queue: WorkQueue[str] = WorkQueue("mails", 10)
    done: list[str] = []
    work = Work()

    async def handle(item: str) -> None:
        await work.handle(item)
        done.append(item)

    running = Running(queue, handle, drains=True)
    for item in "abc":
        await queue.put(item)
    await turns(60)
    running.context.ask_to_stop(within=20.0)
    await turns(60)
    with pytest.raises(WorkQueueClosedError, match="mails takes nothing more in"):
        await queue.put("d")
    work.go.set()
    await soon(running.task)
    assert done == ["a", "b", "c"]


async def test_what_waits_to_put_something_in_is_told_of_the_end() -> None:
    queue: WorkQueue[str] = WorkQueue("mails", 1)
    await queue.put("a")
    waiting = asyncio.ensure_future(queue.put("b"))
    await turns()
    queue.finish()
    with pytest.raises(WorkQueueClosedError):
        await soon(waiting)


async def test_a_thread_waits_for_room_too() -> None:
    queue: WorkQueue[str] = WorkQueue("mails", 1)
    queue.open()
    await asyncio.to_thread(queue.put_blocking, "a")
    waiting = asyncio.ensure_future(asyncio.to_thread(queue.put_blocking, "b"))
    with pytest.raises(
        WorkQueueFullError, match=r"mails had no room for the item within 0.01 s: 1 wait already"
    ) as full:
        await asyncio.to_thread(queue.put_blocking, "c", timeout=0.01)
    assert isinstance(full.value, TimeoutError)
    assert not waiting.done()
    assert await anext(queue) == "a"
    await soon(waiting)
    assert await anext(queue) == "b"
    coming = asyncio.ensure_future(anext(queue))
    await turns()
    assert await asyncio.to_thread(queue.try_put, "d"), "and whoever waits for an item is woken"
    assert await soon(coming) == "d"
    queue.try_put("e")
    waiting = asyncio.ensure_future(asyncio.to_thread(queue.put_blocking, "f"))
    await turns()
    queue.finish()
    with pytest.raises(WorkQueueClosedError):
        await soon(waiting)


async def test_many_threads_put_in_each_item_once_and_no_more_than_fit() -> None:
    queue: WorkQueue[int] = WorkQueue("mails", 3)
    queue.open()

    def fill(first: int) -> None:
        for number in range(50):
            queue.put_blocking(first + number)

    filling = [asyncio.ensure_future(asyncio.to_thread(fill, first)) for first in (0, 100, 200, 300)]
    found: list[int] = []
    while len(found) < 200:
        assert len(queue) <= 3
        found.append(await soon(anext(queue)))
    await soon(asyncio.gather(*filling))
    assert sorted(found) == [first + number for first in (0, 100, 200, 300) for number in range(50)]
    assert [one for one in found if one < 100] == list(range(50)), "in the order of each"


async def test_a_thread_that_is_asked_to_end_waits_for_no_room() -> None:
    queue: WorkQueue[str] = WorkQueue("mails", 1)
    queue.open()
    context = Stopping("fill", clock=Clock())

    def fill() -> None:
        queue.put_blocking("a")
        queue.put_blocking("b")

    with under(context):
        filling = asyncio.ensure_future(asyncio.to_thread(fill))
    await until(lambda: len(queue) == 1, "a full queue")
    await turns()
    context.ask_to_stop(within=20.0)
    with pytest.raises(WorkQueueFullError, match="before its caller was asked to end"):
        await soon(filling)
    assert (await anext(queue), len(queue)) == ("a", 0)
    with under(context):
        await asyncio.to_thread(queue.put_blocking, "c")  # there is room: what it still has is taken in
    assert len(queue) == 1


async def test_a_queue_whose_host_does_not_run_takes_in_what_fits() -> None:
    queue: WorkQueue[str] = WorkQueue("mails", 1)
    queue.put_blocking("a")
    with pytest.raises(RuntimeError, match="its host does not run yet"):
        queue.put_blocking("b")
    queue.open()
    with pytest.raises(RuntimeError, match="a thread whose event loop runs"):
        queue.put_blocking("b")


async def test_what_is_left_at_a_forced_end_and_what_fails_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    queue: WorkQueue[str] = WorkQueue("mails", 10)
    work = Work()
    running = Running(queue, work.handle, drains=True)
    for item in "abc":
        await queue.put(item)
    await turns(60)
    running.context.ask_to_stop(within=20.0)
    await turns(60)
    with caplog.at_level(logging.ERROR):
        assert await soon(cancel_and_wait(running.task))
    assert "mails: an item was not done, and is gone: 'a'" in caplog.text
    assert "mails: 2 items were not done in time, and are gone" in caplog.text


async def test_items_outlive_a_run_that_fails_and_wait_for_the_next() -> None:
    queue: WorkQueue[str] = WorkQueue("mails", 10)
    first = Running(queue, Work().handle, drains=True)
    await queue.put("a")
    await queue.put("b")
    await turns(60)
    assert await soon(cancel_and_wait(first.task))
    done: list[str] = []

    async def handle(item: str) -> None:
        done.append(item)

    second = Running(queue, handle, drains=True)
    await turns(60)
    assert done == ["b"]
    await second.end()
