"""A statement that is composed once, and then said to the driver as it stands: for what is said most often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import ClauseElement, Dialect

__all__ = ["Statement"]


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement in a driver's own words.

    Attributes:
        text: What is said.
        names: The names of its values, in the order in which the driver wants them.
    """

    text: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, clause: ClauseElement, dialect: Dialect) -> Self:
        """What SQLAlchemy composes, whose values are all bound by name."""
        compiled: Any = clause.compile(dialect=dialect)
        return cls(str(compiled), tuple(compiled.positiontup))

    def ordered(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """Its values as the driver wants them."""
        return tuple(values[name] for name in self.names)
