"""What can become of a call on its way to a store and back, and a store to which it does.

A *fault* is a function of the call: it makes it or not, once or twice, now or later, and answers what it likes. None of
them makes a store break its contract: an answer that is given is the store's own, a read that is answered is the latest
as of then, and a wake-up may come late but comes.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from locum.errors import LocumError, OutcomeUnknownError, StoreUnavailableError
from locum.store import Change
from locum.testing.interception import InterceptedStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from locum.clock import Clock
    from locum.store import Store
    from locum.testing.interception import Call

    Make = Callable[[], Awaitable[Any]]
    Fault = Callable[[Make], Awaitable[Any]]

__all__ = ["Delayed", "FaultyStore", "Held", "answer_lost", "duplicated", "passes", "refused", "request_lost"]

_STORE = "the store"


async def passes(call: Make) -> Any:
    """Nothing is wrong with this call."""
    return await call()


async def request_lost(call: Make) -> Any:
    """The store never hears of it."""
    raise OutcomeUnknownError(_STORE, "the call")


async def answer_lost(call: Make) -> Any:
    """The store does it, and nobody hears of that."""
    await call()
    raise OutcomeUnknownError(_STORE, "the call")


async def refused(call: Make) -> Any:
    """The store is not there."""
    raise StoreUnavailableError(_STORE, "nobody is there")


async def duplicated(call: Make) -> Any:
    """The store hears of it twice; the first answer is the one that comes back."""
    result = await call()
    try:
        await call()
    except LocumError:
        pass  # the second one was refused: nobody is there to hear it
    return result


class Delayed:
    """A call whose request and answer take their time.

    Calls that are delayed by different times reach the store in another order than they were made.

    Args:
        clock: By which they take it.
        request: Seconds until the store hears of it.
        answer: Seconds until its answer is there.
        lost: Whether the answer is lost then.
    """

    def __init__(self, clock: Clock, *, request: float = 0.0, answer: float = 0.0, lost: bool = False) -> None:
        self._clock, self._request, self._answer, self._lost = clock, request, answer, lost

    async def __call__(self, call: Make) -> Any:
        """Make the call, late."""
        await self._clock.sleep(self._request)
        result = await call()
        await self._clock.sleep(self._answer)
        if self._lost:
            raise OutcomeUnknownError(_STORE, "the call")
        return result


class Held:
    """A call that waits until it is let go: its request, or its answer.

    Args:
        answer: Whether the answer is held, and not the request.
        lost: Whether the answer is lost then.

    Attributes:
        reached: Set when the call waits.
    """

    def __init__(self, *, answer: bool, lost: bool = False) -> None:
        self._answer, self._lost = answer, lost
        self.reached, self._go = asyncio.Event(), asyncio.Event()

    def let_go(self) -> None:
        """Let it go on."""
        self._go.set()

    async def __call__(self, call: Make) -> Any:
        """Make the call, before or after the wait."""
        if self._answer:
            result = await call()
            await self._wait()
        else:
            await self._wait()
            result = await call()
        if self._lost:
            raise OutcomeUnknownError(_STORE, "the call")
        return result

    async def _wait(self) -> None:
        self.reached.set()
        await self._go.wait()


class _LateWakeUps:
    """Wake-ups that come when the store lets them; a cancelled wait loses none."""

    def __init__(self, changes: AsyncIterator[Change], flow: asyncio.Event) -> None:
        self._changes, self._flow = changes, flow
        self._taken: Change | None = None

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        if self._taken is None:
            self._taken = await anext(self._changes)
        await self._flow.wait()
        taken, self._taken = self._taken, None
        return taken


class FaultyStore(InterceptedStore):
    """A store behind a bad network; what happens to a call on its way there and back can be planned.

    Args:
        store: The store that does the work.

    Attributes:
        calls: The calls that were made: name and subject.
        answers: Those that were answered.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.calls: list[tuple[str, object]] = []
        self.answers: list[tuple[str, object]] = []
        self._plans: dict[tuple[str, str], deque[Fault]] = defaultdict(deque)
        self._always: dict[tuple[str, str], Fault] = {}
        self._is_cut = False
        self._wake_ups_flow = asyncio.Event()
        self._wake_ups_flow.set()

    # -- what is planned

    def plan(self, name: str, *faults: Fault, key: str = "") -> None:
        """What happens to the next calls of that name whose subjects begin so."""
        self._plans[name, key].extend(faults)

    def always(self, name: str, fault: Fault | None, key: str = "") -> None:
        """What happens to all of them from now on; `None` for nothing."""
        if fault is None:
            self._always.pop((name, key), None)
        else:
            self._always[name, key] = fault

    def cut(self) -> None:
        """From now on the store is not there, for any call."""
        self._is_cut = True

    def mend(self) -> None:
        """It is there again."""
        self._is_cut = False

    def hold_wake_ups(self) -> None:
        """From now on wake-ups are late."""
        self._wake_ups_flow.clear()

    def let_wake_ups_go(self) -> None:
        """Those that were held come now."""
        self._wake_ups_flow.set()

    # -- what has happened

    def count(self, name: str, key: str = "") -> int:
        """How many such calls were made."""
        return _count(self.calls, name, key)

    def answered(self, name: str, key: str = "") -> int:
        """How many such calls have been answered."""
        return _count(self.answers, name, key)

    # -- as a store

    async def intercept(self, call: Call) -> Any:
        """Make a call as planned."""
        self.calls.append((call.name, call.subject))
        result = await (refused if self._is_cut else self._fault(call))(call.make)
        self.answers.append((call.name, call.subject))
        return result

    @asynccontextmanager
    async def changes(self, prefixes: Sequence[str]) -> AsyncIterator[AsyncIterator[Change]]:
        """Wake-ups, which may be held."""
        async with super().changes(prefixes) as changes:
            yield _LateWakeUps(changes, self._wake_ups_flow)

    def _fault(self, call: Call) -> Fault:
        for (name, key), faults in self._plans.items():
            if faults and _is_meant(call, name, key):
                return faults.popleft()
        for (name, key), fault in self._always.items():
            if _is_meant(call, name, key):
                return fault
        return passes


def _is_meant(call: Call, name: str, key: str) -> bool:
    return call.name == name and str(call.subject).startswith(key)


def _count(calls: Sequence[tuple[str, object]], name: str, key: str) -> int:
    return len([1 for called, subject in calls if called == name and str(subject).startswith(key)])
