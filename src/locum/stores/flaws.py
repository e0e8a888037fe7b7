"""Servers' versions that are known to be bad for what Locum does with them, and why: for `locum doctor`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Flaw", "flaws_of"]


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with some versions of a server.

    Attributes:
        why: What it does, and where that is written.
        spans: From which version on, and with which one it was mended; one span for each series that has it.
    """

    why: str
    spans: tuple[tuple[str, str], ...]

    def is_of(self, version: str) -> bool:
        """Whether a version has it."""
        return any(_parts(since) <= _parts(version) < _parts(mended) for since, mended in self.spans)


def flaws_of(version: str, known: Iterable[Flaw]) -> str:
    """What is known to be wrong with a version, in words; empty if nothing is."""
    return "; ".join(one.why for one in known if one.is_of(version))


def _parts(version: str) -> tuple[int, ...]:
    """The numbers that a version begins with."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
