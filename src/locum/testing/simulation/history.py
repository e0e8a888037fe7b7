"""What happened in a run, as the checker reads it: one line an event, and one number for all of it."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from locum.clock import seconds

if TYPE_CHECKING:
    from locum.testing.simulation.loop import VirtualLoop

__all__ = ["Happening", "History"]


@dataclass(frozen=True, slots=True)
class Happening:
    """One event.

    Attributes:
        at: True time, in nanoseconds from the beginning.
        kind: What happened.
        who: To whom.
        facts: What else is known of it.
    """

    at: int
    kind: str
    who: str
    facts: dict[str, Any]

    def __str__(self) -> str:
        facts = " ".join(f"{name}={value}" for name, value in self.facts.items())
        return f"{seconds(self.at):12.6f}  {self.who:<12} {self.kind:<12} {facts}".rstrip()


class History:
    """The events of a run in their order.

    Args:
        loop: Tells the time.
        trace: Whether to write each line as it happens.
    """

    def __init__(self, loop: VirtualLoop, *, trace: bool = False) -> None:
        self._loop, self._trace = loop, trace
        self.events: list[Happening] = []

    def note(self, kind: str, who: str, **facts: Any) -> None:
        """Something happened."""
        event = Happening(self._loop.now, kind, who, facts)
        self.events.append(event)
        if self._trace:
            sys.stdout.write(f"{event}\n")

    def remark(self, who: str, text: str) -> None:
        """Something that is for the reader of a trace alone."""
        if self._trace:
            sys.stdout.write(f"{seconds(self._loop.now):12.6f}  {who:<12} . {text}\n")

    def of(self, *kinds: str) -> list[Happening]:
        """The events of some kinds."""
        return [event for event in self.events if event.kind in kinds]

    def close(self) -> None:
        """What comes now happens no more."""
        self._trace = False

    @property
    def digest(self) -> str:
        """The same for the same history, and for no other."""
        return hashlib.sha256("\n".join(map(str, self.events)).encode()).hexdigest()[:16]
