"""Whether and when a service that failed is run again, and when that has happened too often.

A service that failed too often escalates: its group begins anew, where it has one, and otherwise its host ends, for
its keeper (or whoever started the process) to begin anew. The same counting is done for a group.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from locum.clock import nanoseconds
from locum.errors import ConfigurationError, CrashLoopError
from locum.scopes import Backoff

if TYPE_CHECKING:
    from locum.clock import Clock

__all__ = ["Restart", "RestartWhen", "Restarts"]

RestartWhen = Literal["never", "on_failure", "always"]
_WHEN: Final = ("never", "on_failure", "always")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """When a service is run again.

    Of an active-passive service it says whether and when it stands in line again after it failed: an error always gives
    its term up, and a return always keeps it.

    Attributes:
        when: `never`; `on_failure`, after an error; or `always`, after a return too.
        most: How many times within `within` it may be; once more is a crash loop, which ends its group or its host.
        within: Seconds in which they are counted.
        first: Seconds to the first time; each further one takes twice as long, less some jitter.
        last: Seconds that a pause takes at most.
        healthy_after: Seconds of running after which the pauses begin with `first` again.

    Raises:
        ConfigurationError: One of them cannot be.
    """

    when: RestartWhen = "on_failure"
    most: int = 10
    within: float = 300.0
    first: float = 0.5
    last: float = 30.0
    healthy_after: float = 60.0

    def __post_init__(self) -> None:
        """See that it can be."""
        if self.when not in _WHEN:
            raise ConfigurationError(f"restart={self.when!r} is not known: it is one of {', '.join(_WHEN)}")
        if self.most < 0 or not self.within > 0:
            raise ConfigurationError(f"{self} counts nothing: most is at least 0, within is more than 0 seconds")
        if not 0 < self.first <= self.last:
            raise ConfigurationError(f"{self} has no pauses: 0 < first <= last must hold, in seconds")

    @classmethod
    def of(cls, given: Restart | RestartWhen) -> Restart:
        """A policy, or one by its first word."""
        return given if isinstance(given, Restart) else cls(when=given)


class Restarts:
    """Judges the ends of one service's runs. Without I/O: it is told of each end, and says what comes of it.

    Args:
        name: Whose.
        policy: Whether and when.
        clock: Counts the window.
    """

    def __init__(self, name: str, policy: Restart, *, clock: Clock) -> None:
        self.count = 0
        """How often it was run again, for people."""
        self._name, self._policy, self._clock = name, policy, clock
        self._pauses = Backoff(policy.first, policy.last)
        self._instants: deque[int] = deque()

    def after(self, error: BaseException | None, *, ran: float) -> float | None:
        """What comes after a run that has ended by itself.

        Args:
            error: What it failed with; `None` if it returned.
            ran: Seconds for which it ran.

        Returns:
            Seconds until it is run again; `None` if it is not.

        Raises:
            CrashLoopError: It would be once too often.
        """
        if self._policy.when == "never" or (error is None and self._policy.when != "always"):
            return None
        if ran >= self._policy.healthy_after:
            self._pauses.reset()
        now = self._clock.now()
        self._instants.append(now)
        while now - self._instants[0] > nanoseconds(self._policy.within):
            self._instants.popleft()
        if len(self._instants) > self._policy.most:
            failures = len(self._instants)
            self._instants.clear()  # what begins anew is counted anew
            raise CrashLoopError(self._name, failures, self._policy.within) from error
        self.count += 1
        return self._pauses.delay()

    def pause(self) -> float:
        """Seconds to wait after something that is not the service's fault, and does not count."""
        return self._pauses.delay()

    def reset(self) -> None:
        """It went well: pauses begin with the first again."""
        self._pauses.reset()
