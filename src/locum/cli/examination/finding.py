"""What a check says: what was looked at, how it stands with it, the fact, and what to do."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec

from locum.cli.words import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Finding", "Level", "Said", "check", "worst"]

P = ParamSpec("P")


class Level(enum.StrEnum):
    """How it stands with something."""

    HOLDS = "holds"
    NOTE = "–"  # noqa: RUF001 - a dash that cannot be taken for a minus; it is neither good nor bad
    WEAKER = "weaker"
    UNKNOWN = "not known"
    FAILS = "does not hold"


_FROM_BEST: tuple[Level, ...] = tuple(Level)


def worst(*levels: Level) -> Level:
    """The worst of these; what is not known is worse than what is weaker."""
    return max(levels, key=_FROM_BEST.index)


@dataclass(frozen=True, slots=True)
class Said:
    """What a check found.

    Attributes:
        level: How it stands.
        fact: What was found, in plain words.
        advice: What to do, where something can be done.
    """

    level: Level
    fact: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, and what it looked at.

    Attributes:
        id: The check's name, for programs.
        what: The same for people.
        level: How it stands.
        fact: What was found.
        advice: What to do; empty if nothing can be done or needs to be.
    """

    id: str
    what: str
    level: Level
    fact: str
    advice: str = ""


def check(id: str, what: str) -> Callable[[Callable[P, Said]], Callable[P, Finding]]:
    """Make a check of a function: if it fails itself, that is its finding, and the others go on."""

    def made(function: Callable[P, Said]) -> Callable[P, Finding]:
        @functools.wraps(function)
        def examined(*args: P.args, **kwargs: P.kwargs) -> Finding:
            try:
                said = function(*args, **kwargs)
            except Exception as error:
                said = Said(Level.UNKNOWN, f"could not be looked at: {one_line(str(error) or repr(error))}")
            return Finding(id, what, said.level, said.fact, said.advice)

        return examined

    return made
