"""Whether the job database's clock goes as time does: compared with this machine's own, which nobody sets."""

from __future__ import annotations

from typing import Final

__all__ = ["Steadiness"]

_LEAST: Final = 1_000_000_000


class Steadiness:
    """Notices when the clock that times are due by was set. Without I/O: it is told what was read, and when.

    A reading belongs to some moment between the question and its answer, so what it is ahead of the other clock is
    known within bounds; a step is what moves them apart. Steps of less than a second are not told.
    """

    def __init__(self) -> None:
        self._bounds: tuple[int, int] | None = None

    def step(self, micros: int, asked: int, answered: int) -> float:
        """Seconds by which the clock was set since the last reading; 0 if it was not.

        Args:
            micros: What it showed.
            asked: When it was asked, on the other clock, in nanoseconds.
            answered: When the answer came.
        """
        low, high = micros * 1000 - answered, micros * 1000 - asked
        before, self._bounds = self._bounds, (low, high)
        if before is None:
            return 0.0
        if low > before[1] + _LEAST:
            return (low - before[1]) / 1e9
        if high < before[0] - _LEAST:
            return (high - before[0]) / 1e9
        return 0.0
