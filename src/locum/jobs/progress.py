"""How far a run is: what its body has said, and the picture that people are shown of it."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Final

from locum.clock import seconds
from locum.errors import ConfigurationError

__all__ = ["Pace", "Progress"]

_LONGEST_NOTE: Final = 200


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: by its slices that are over, or by what its body has said.

    Attributes:
        done: How much is done.
        of: Of how much; `None` if nobody knows.
        per_second: How much was done each second, so far.
        left: Seconds until all is done, if it goes on like that; `None` while nothing can be said.
        note: What it is about, as its body has said.
    """

    done: float
    of: float | None
    per_second: float
    left: float | None
    note: str = ""

    @classmethod
    def after(cls, seconds: float, *, done: float, of: float | None, begun_with: float = 0, note: str = "") -> Progress:
        """After so many seconds, in which all but `begun_with` was done."""
        rate = (done - begun_with) / seconds if seconds > 0 and done > begun_with else 0.0
        left = (of - done) / rate if of is not None and rate else None
        return cls(done, of, rate, left, note)

    @classmethod
    def read(cls, text: str | None) -> Progress | None:
        """What was written down of a run; `None` if nothing was."""
        return None if text is None else cls(**json.loads(text))

    @property
    def text(self) -> str:
        """As it is written down."""
        return json.dumps(asdict(self))


class Pace:
    """Notes what a body says of how far it is. Without I/O; any thread may ask, and say."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self.progress: Progress | None = None

    def reach(self, done: float, of: float | None, note: str, *, at: int) -> None:
        """So much is done, at that moment (ns).

        The rate is counted from what was said first: what an earlier attempt had done took no time in this one.

        Raises:
            ConfigurationError: These are no numbers of which one could be a part of the other.
        """
        if not (_is_amount(done) and (of is None or (_is_amount(of) and done <= of))):
            raise ConfigurationError(
                f"progress({done!r}, {of!r}): say how much is done, from 0, and of how much in all"
            )
        if self._first is None or done < self._first[0]:
            self._first = (done, at)
        begun_with, since = self._first
        self.progress = Progress.after(
            seconds(at - since), done=done, of=of, begun_with=begun_with, note=note[:_LONGEST_NOTE]
        )


def _is_amount(number: object) -> bool:
    return isinstance(number, int | float) and math.isfinite(number) and number >= 0
