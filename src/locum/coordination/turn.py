"""Whose turn it is: what may be held together, and who goes before whom. Decisions only, without I/O (R23)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

__all__ = ["ALONE", "Alone", "Manner", "Permit", "Read"]


class Manner(Protocol):
    """How something is to be held."""

    @property
    def name(self) -> str:
        """As a place in a line says it; empty for alone."""

    def waits_behind(self, manner: str) -> bool:
        """Whether one that came before, and wants to hold it in that manner, goes before."""

    def windows(self, *, alone: bool, shares: int, ahead: int) -> int | None:
        """How many claim windows those before us may leave it untaken before we take it (R23).

        Args:
            alone: Whether somebody who lives holds it alone.
            shares: How many who live hold it together.
            ahead: How many go before.

        Returns:
            0 if it is our turn at once; `None` if there is no room, however long we wait.
        """


@dataclass(frozen=True, slots=True)
class Alone:
    """Nobody else holds it in any manner."""

    name: str = ""

    def waits_behind(self, manner: str) -> bool:
        """Behind everyone."""
        del manner
        return True

    def windows(self, *, alone: bool, shares: int, ahead: int) -> int | None:
        """As soon as nobody is left."""
        return None if alone or shares else ahead


@dataclass(frozen=True, slots=True)
class Read:
    """Together with others who read; a writer that came before goes before, so that it is not starved.

    Attributes:
        most: How many may read at once.
    """

    most: int
    name: str = "read"

    def waits_behind(self, manner: str) -> bool:
        """Behind writers: those who read go in together."""
        return manner != self.name

    def windows(self, *, alone: bool, shares: int, ahead: int) -> int | None:
        """At once if no writer is before us; behind one only if that leaves it untaken when it could have it."""
        if alone or shares >= self.most or (ahead and shares):
            return None
        return ahead


@dataclass(frozen=True, slots=True)
class Permit:
    """One of some.

    Attributes:
        permits: How many there are.
    """

    permits: int
    name: str = "permit"

    def waits_behind(self, manner: str) -> bool:
        """Behind everyone."""
        del manner
        return True

    def windows(self, *, alone: bool, shares: int, ahead: int) -> int | None:
        """At once if there are more free ones than go before."""
        free = self.permits - shares
        return None if alone or free <= 0 else max(0, ahead - free + 1)


ALONE: Final = Alone()
