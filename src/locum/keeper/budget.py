"""How a TTL is divided: when to beat, how long a call may take, and what happens at which part of it.

All in whole nanoseconds, so that no rounding can turn an inequality (R4, R30).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from locum.clock import NANOSECONDS, nanoseconds, seconds
from locum.errors import ConfigurationError

__all__ = ["Budget"]

_LEAST_TTL: Final = 0.5
_LONGEST_TTL: Final = 3600


@dataclass(frozen=True, slots=True)
class Budget:
    """The times of one session, in nanoseconds.

    Attributes:
        ttl: The granted TTL: nobody else may start before it is over, counted by them.
        beat: From one beat to the next.
        call: After so long a store call has failed.
    """

    ttl: int
    beat: int
    call: int

    @classmethod
    def of(cls, ttl: int) -> Budget:
        """The default division of a TTL (ns): a sixth for the beat, a sixth for a call.

        Raises:
            ConfigurationError: The TTL leaves no time for two failed calls between two beats.
        """
        return cls(ttl, ttl // 6, ttl // 6).checked()

    @classmethod
    def of_seconds(cls, ttl: float) -> Budget:
        """The default division of a TTL in seconds."""
        if not _LEAST_TTL <= ttl <= _LONGEST_TTL:
            raise ConfigurationError(f"a TTL of {ttl!r} s cannot be: it is between {_LEAST_TTL} s and an hour")
        return cls.of(nanoseconds(ttl))

    def checked(self) -> Budget:
        """Itself, if beat + 2 x call fits into 60 % of the TTL (R30)."""
        if self.beat <= 0 or self.call <= 0 or 10 * (self.beat + 2 * self.call) > 6 * self.ttl:
            raise ConfigurationError(
                f"beat {seconds(self.beat):g} s + 2 x call {seconds(self.call):g} s must fit into 60 % of the TTL"
                f" {seconds(self.ttl):g} s: choose a longer TTL or shorter beats and calls"
            )
        return self

    def cancel_at(self, sent: int) -> int:
        """When terms are cancelled, counted from before the answered beat was sent: 60 %."""
        return sent + self.ttl * 60 // 100

    def end_worker_at(self, sent: int) -> int:
        """When the keeper kills a worker in which a term's body still runs: 80 %."""
        return sent + self.ttl * 80 // 100

    def kill_at(self, sent: int) -> int:
        """When the kernel kills the keeper, and with it the worker: 85 %."""
        return sent + self.ttl * 85 // 100

    @property
    def claim_window(self) -> int:
        """How long the head of a line may leave a free grant untaken before the next may take it (R23): 20 %."""
        return self.ttl // 5

    @property
    def call_seconds(self) -> float:
        """The call deadline in seconds."""
        return self.call / NANOSECONDS
