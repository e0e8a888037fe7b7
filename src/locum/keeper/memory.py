"""What an instance remembers of its store from one life of its worker to the next (R24)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Memory"]


@dataclass(slots=True)
class Memory:
    """What must not be forgotten if the store forgets it; both only grow.

    Attributes:
        token: The highest token that a body of this instance has worked under.
        max_ttl: The longest TTL that was ever seen in the namespace, in nanoseconds.
    """

    token: int = 0
    max_ttl: int = 0

    def see(self, *, token: int = 0, max_ttl: int = 0) -> None:
        """Remember what is higher than what was known."""
        self.token, self.max_ttl = max(self.token, token), max(self.max_ttl, max_ttl)
