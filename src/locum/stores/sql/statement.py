"""One statement, as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Statement"]


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, ready to be sent.

    Attributes:
        text: Its text, with `$1` and so on for its parameters.
        names: What these are called, in their order.
        constants: Those of which the statement itself knows the value.
    """

    text: str
    names: tuple[str, ...]
    constants: Mapping[str, object]

    def given(self, values: Mapping[str, object]) -> list[object]:
        """The values of its parameters, in their order."""
        return [self.constants[name] if name in self.constants else values[name] for name in self.names]
