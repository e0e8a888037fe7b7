"""The order of starting and stopping, and how long each step may take: decided here, without I/O.

Services wait for those that they come `after`, and for nobody else; so independent ones go side by side, and the way
back is the way there in reverse.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from locum.clock import nanoseconds, seconds
from locum.errors import ConfigurationError, StopTimeoutError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["BACK", "THERE", "Order", "Phase", "StopTimes", "would_not_stop"]

_CLOSING: Final = 5.0


class Phase(enum.Enum):
    """One step of a host, through which all services go before any goes into the next."""

    STARTING = "starting"
    START = "start"
    STARTED = "started"
    STOPPING = "stopping"
    STOP = "stop"
    STOPPED = "stopped"


THERE: Final = (Phase.STARTING, Phase.START, Phase.STARTED)
BACK: Final = (Phase.STOPPING, Phase.STOP, Phase.STOPPED)


class Order:
    """Which services wait for which.

    Args:
        after: The names of all services, in the order of their declaration, each with those that it comes after.

    Raises:
        ConfigurationError: One comes after something that is no service, or after itself, round about.
    """

    def __init__(self, after: Mapping[str, Collection[str]]) -> None:
        self._after = {name: frozenset(others) for name, others in after.items()}
        self._before: dict[str, set[str]] = {name: set() for name in after}
        for name, others in self._after.items():
            for other in others:
                if other not in self._before:
                    raise ConfigurationError(
                        f"{name} comes after {other!r}, which is no service of this host: it has"
                        f" {', '.join(self._before)}"
                    )
                self._before[other].add(name)
        circle = self._circle()
        if circle:
            raise ConfigurationError(
                f"{' after '.join(circle)}: nobody could be first. Take one `after` out of the circle"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """All services, in the order of their declaration."""
        return tuple(self._after)

    def startable(self, begun: Collection[str], done: Collection[str]) -> list[str]:
        """Who may go now, on the way there: not begun, and all that it comes after are done."""
        return [name for name, others in self._after.items() if name not in begun and others.issubset(done)]

    def stoppable(self, among: Collection[str], begun: Collection[str], done: Collection[str]) -> list[str]:
        """Who of some may go now, on the way back: not begun, and all of them that come after it are done."""
        return [
            name
            for name in reversed(self._after)
            if name in among and name not in begun and all(n in done for n in self._before[name] if n in among)
        ]

    def with_dependants(self, names: Iterable[str]) -> set[str]:
        """Some services, and all that come after them, round about."""
        found: set[str] = set()
        open_ones = list(names)
        while open_ones:
            name = open_ones.pop()
            if name not in found:
                found.add(name)
                open_ones.extend(self._before[name])
        return found

    def longest(self, durations: Mapping[str, float]) -> float:
        """How long the longest chain takes, if each takes so many seconds and waits for those that it comes after."""
        ends: dict[str, float] = {}
        while len(ends) < len(self._after):
            for name in self.startable(ends, ends):
                ends[name] = durations[name] + max((ends[other] for other in self._after[name]), default=0.0)
        return max(ends.values(), default=0.0)

    def _circle(self) -> list[str]:
        """One circle, from a name back to the same one; empty if there is none."""
        rest = dict(self._after)
        while free := [name for name, others in rest.items() if not others & rest.keys()]:
            for name in free:
                del rest[name]
        if not rest:
            return []
        path = [next(iter(rest))]
        while path[-1] not in path[:-1]:
            path.append(next(name for name in rest if name in rest[path[-1]]))
        return path[path.index(path[-1]) :]


def would_not_stop(error: BaseException) -> bool:
    """Whether an error says that something did not end in its time, alone or among others."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(StopTimeoutError) is not None
    return isinstance(error, StopTimeoutError)


class StopTimes:
    """How long each step of one stop may take.

    A service's time is its own for all steps together; the host's is everyone's. A part of the host's is kept for what
    comes after the bodies have ended.

    Args:
        begun: When the stop was asked for (ns).
        limits: Seconds that each service may take.
        host: Seconds that all of it may take.
    """

    def __init__(self, begun: int, *, limits: Mapping[str, float], host: float) -> None:
        self._left = dict(limits)
        self._end = begun + nanoseconds(host)
        self._bodies_end = begun + nanoseconds(host - min(_CLOSING, host / 10))

    @staticmethod
    def host_limit(order: Order, limits: Mapping[str, float], *, drain: float) -> float:
        """Seconds that a host takes at most, if nobody said how many."""
        return order.longest(limits) + drain + _CLOSING

    def limit(self, name: str, phase: Phase, *, now: int) -> float:
        """Seconds that a service may take for a step that begins now; 0 if none are left."""
        end = self._end if phase is Phase.STOPPED else self._bodies_end
        # what was stopped has still to be closed: time of its own that it used up must not keep it from that
        left = self._left[name] if phase is not Phase.STOPPED else max(self._left[name], _CLOSING)
        return max(0.0, min(left, seconds(end - now)))

    def spend(self, name: str, duration: int) -> None:
        """A service took so long (ns) for a step."""
        self._left[name] -= seconds(duration)
