"""The simulated network: what happens to a message between a process and a server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from locum.stores.memory import Wire
from locum.testing.simulation.loop import KERNEL

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from locum.testing.simulation.history import History
    from locum.testing.simulation.loop import Process, VirtualLoop
    from locum.testing.simulation.machine import Machine

__all__ = ["Line", "Network", "Weather"]

T = TypeVar("T")


@dataclass(slots=True)
class Weather:
    """How bad the network is; parts of a whole, and nanoseconds.

    Attributes:
        usual: A message takes up to so long.
        delayed: Of all messages.
        delay: Those take up to so long.
        lost: Of all messages.
        doubled: Of all requests; the second one comes as late as any.
        deaf_to: The call of which half of all answers are lost.
    """

    usual: int
    delayed: float = 0.0
    delay: int = 0
    lost: float = 0.0
    doubled: float = 0.0
    deaf_to: str = ""


class Network:
    """Between all processes and all servers.

    Args:
        loop: Tells the time.
        chance: Decides.
        history: Told of what was lost on the way.
        weather: How bad it is.
    """

    def __init__(self, loop: VirtualLoop, chance: random.Random, history: History, weather: Weather) -> None:
        self._loop, self._chance, self._history, self.weather = loop, chance, history, weather
        self.cut: dict[str, tuple[bool, bool]] = {}
        """By machine: whether no request comes through, and whether no answer does."""
        self.down = False
        """Whether the store does not run."""
        self.struck = 0
        """Messages that something happened to."""

    def delay(self) -> int:
        """How long one message takes."""
        weather, chance = self.weather, self._chance
        if weather.delayed and chance.random() < weather.delayed:
            self.struck += 1
            return int(chance.random() * weather.delay)
        return int(chance.random() * weather.usual)

    def loses(self, machine: Machine, *, answer: bool) -> bool:
        """Whether this message does not come through."""
        lost = self.weather.lost
        if self.cut.get(machine.name, (False, False))[answer] or (lost and self._chance.random() < lost):
            self.struck += 1
            return True
        return False

    def deafens(self, call: str) -> bool:
        """Whether the answer to this call is lost, since it is to this one."""
        if call == self.weather.deaf_to and self._chance.random() < 0.5:
            self.struck += 1
            return True
        return False

    def doubles(self) -> bool:
        """Whether this request comes twice."""
        doubled = self.weather.doubled
        if doubled and self._chance.random() < doubled:
            self.struck += 1
            return True
        return False


class Line(Wire):
    """The way between one process and one server.

    Args:
        network: Of which it is a part.
        loop: Tells the time.
        machine: Where the process is.
        process: Whose it is.
        to_store: Whether the server is the store, which may be down; otherwise it is the user's database.
    """

    def __init__(
        self, network: Network, loop: VirtualLoop, machine: Machine, process: Process, *, to_store: bool = True
    ) -> None:
        self._network, self._loop, self._machine, self._process = network, loop, machine, process
        self._to_store = to_store
        self.calls = 0
        self.strike: tuple[int, str, Callable[[], object]] | None = None
        """What strikes at the call of that number: `before` it lands, as it has `landed`, or as it is `answered`."""

    async def carry(self, call: str, request: Callable[[], T]) -> T:
        """Make a request at the server, if it gets there, and bring back what it answers, if that does."""
        answer: asyncio.Future[T] = self._loop.create_future()
        if not self._process.is_alive:
            return await answer
        self.calls += 1
        strike = self.strike if self.strike is not None and self.calls >= self.strike[0] else None
        if strike is not None:
            self.strike = None
            if strike[1] == "before":
                strike[2]()
                return await answer
        for number in range(2 if self._network.doubles() else 1):
            self._send(call, request, None if number else answer, strike)
        return await answer

    def push(self, wake_up: Callable[[], None]) -> None:
        """Bring a wake-up to the connection."""
        if self._process.is_alive and not self._network.loses(self._machine, answer=True):
            self._loop.at(self._loop.now + self._network.delay(), wake_up, context=self._process.context)

    def _send(self, call: str, request: Callable[[], T], answer: asyncio.Future[T] | None, strike: Any) -> None:
        if self._network.loses(self._machine, answer=False):
            return
        self._loop.at(self._loop.now + self._network.delay(), self._land, call, request, answer, strike, context=KERNEL)

    def _land(self, call: str, request: Callable[[], T], answer: asyncio.Future[T] | None, strike: Any) -> None:
        if self._to_store and self._network.down:
            return
        result: Any = None
        error: Exception | None = None
        try:
            result = request()
        except Exception as refusal:  # an answer like any other
            error = refusal
        if strike is not None and strike[1] == "landed":
            strike[2]()
        if answer is None or self._network.loses(self._machine, answer=True) or self._network.deafens(call):
            return
        last = strike[2] if strike is not None and strike[1] == "answered" else None
        delay = self._network.delay()
        self._loop.at(self._loop.now + delay, self._arrive, answer, result, error, last, context=self._process.context)

    def _arrive(
        self, answer: asyncio.Future[Any], result: Any, error: Exception | None, strike: Callable[[], object] | None
    ) -> None:
        if strike is not None:
            strike()
            if not self._process.is_alive:
                return
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)
