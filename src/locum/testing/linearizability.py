"""Whether what clients saw could have happened one after the other, each call at a moment between question and answer.

The search is Wing and Gong's ("Testing and verifying concurrent objects", 1993) with Lowe's memory of what has been
tried ("Testing for linearizability", 2017). Calls about different keys do not concern each other, so each key's history
is judged for itself (Herlihy and Wing, "Linearizability: a correctness condition for concurrent objects", 1990).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

__all__ = ["UNKNOWN", "Call", "Model", "Verdict", "counter", "judge", "judge_each", "register"]

UNKNOWN: Final = object()
"""The result of a call whose answer was never seen: it may have happened at any time after it was made, or never."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a client.

    Attributes:
        asked: When it was made; any clock that all clients share.
        answered: When its answer was there; infinite if there was none.
        what: What was asked, in the words of the model.
        result: The answer; or `UNKNOWN`.
        client: Who made it, for messages.
    """

    asked: float
    answered: float
    what: tuple[Any, ...]
    result: Any = None
    client: Any = None


Model: TypeAlias = "Callable[[Any, Call], tuple[bool, Hashable]]"
"""From a state and a call to whether its result can be, and the state after it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found.

    Attributes:
        is_linearizable: Whether there is an order.
        order: One such order; else the longest one that was found before nothing could come next.
        stuck: The calls of which one would have had to come next, and could not.
    """

    is_linearizable: bool
    order: tuple[Call, ...]
    stuck: tuple[Call, ...] = ()

    def __bool__(self) -> bool:
        return self.is_linearizable


def judge(calls: Iterable[Call], model: Model, initial: Hashable = None) -> Verdict:
    """Look for an order in which each call gives the result that it gave.

    Args:
        calls: The whole history of one object, in any order.
        model: What each call does to it.
        initial: Its state before.
    """
    search = _Search(sorted(calls, key=lambda call: call.asked), model)
    return search.run(initial)


def judge_each(history: Mapping[Any, Iterable[Call]], model: Model, initial: Hashable = None) -> dict[Any, Verdict]:
    """The keys whose histories have no such order, each with what was found; none if all have one."""
    found = {key: judge(calls, model, initial) for key, calls in history.items()}
    return {key: verdict for key, verdict in found.items() if not verdict}


def register(state: Any, call: Call) -> tuple[bool, Hashable]:
    """A value: `("read",)` gives it, `("write", v)` changes it, `("cas", a, b)` changes it from a to b, or says no."""
    match call.what:
        case ("read",):
            return call.result is UNKNOWN or call.result == state, state
        case ("write", value):
            return True, value
        case ("cas", expected, value):
            has_changed = state == expected
            return call.result is UNKNOWN or call.result == has_changed, value if has_changed else state
    raise ValueError(f"a register knows no {call.what!r}")


def counter(state: Any, call: Call) -> tuple[bool, Hashable]:
    """A number, at first 0: `("add", n)` gives it after n was added, `("read",)` gives it."""
    after = (state or 0) + (call.what[1] if call.what[0] == "add" else 0)
    return call.result is UNKNOWN or call.result == after, after


class _Search:
    """The search of one history. A set of calls is a number, with a bit for each."""

    def __init__(self, calls: list[Call], model: Model) -> None:
        self._calls, self._model = calls, model
        self._tried: set[tuple[int, Hashable]] = set()

    def run(self, initial: Hashable) -> Verdict:
        all_of_them = (1 << len(self._calls)) - 1
        path: list[tuple[int, Hashable]] = []  # which call came next, and the state before it
        best: list[int] = []
        done, state, first = 0, initial, 0
        while done != all_of_them:
            found = self._next(done, state, first)
            if found is not None:
                number, after = found
                path.append((number, state))
                done, state, first = done | 1 << number, after, 0
                continue
            if len(path) >= len(best):
                best = [number for number, _ in path]
            if not path:
                gone = sum(1 << number for number in best)
                stuck = tuple(self._calls[number] for number in self._possible(gone))
                return Verdict(False, tuple(self._calls[number] for number in best), stuck)
            number, state = path.pop()
            done &= ~(1 << number)
            first = number + 1
        return Verdict(True, tuple(self._calls[number] for number, _ in path))

    def _next(self, done: int, state: Hashable, first: int) -> tuple[int, Hashable] | None:
        """The next call, from one on, that can come now and leads to what was not tried yet."""
        for number in self._possible(done):
            if number < first:
                continue
            can_be, after = self._model(state, self._calls[number])
            tried = (done | 1 << number, after)
            if can_be and tried not in self._tried:
                self._tried.add(tried)
                return number, after
        return None

    def _possible(self, done: int) -> list[int]:
        """The calls that may come next: those that were made before any that is not done was answered."""
        possible, earliest = [], math.inf
        for number, call in enumerate(self._calls):
            if call.asked > earliest:
                break  # nor may those after it, for they were made later
            if not done >> number & 1:
                possible.append(number)
                earliest = min(earliest, call.answered)
        return [number for number in possible if self._calls[number].asked <= earliest]
