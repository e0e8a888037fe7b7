"""From rows to numbers, the same for all subjects: pure functions.

Whoever writes rows is told apart by an owner: a token, where there are some, otherwise a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Mark", "successor", "values"]


class Mark(NamedTuple):
    """A row: when it was about to be written (boot clock, ns), and by whom."""

    at: int
    owner: int


def successor(marks: Sequence[Mark], old: int, hurt: int) -> Mark | None:
    """The earliest row of another owner that is later than the injury, if there is one yet."""
    return min((mark for mark in marks if mark.at > hurt and mark.owner != old), default=None)


def values(marks: Sequence[Mark], old: int, hurt: int, *, resumed: int = 0) -> dict[str, float]:
    """The numbers of one takeover.

    Args:
        marks: All rows until the end of the watch, in the order of their writing.
        old: Who was active.
        hurt: When the signal or the request had been sent (boot clock, ns).
        resumed: When a frozen one was about to go on.

    Returns:
        `ms`: from the injury to the successor's first row. `gap ms`: from the old one's last row before that to it.
        `overlap rows`: rows of all but the successor that were written after its first one, or carry a later instant;
        `overlap ms`: how long others worked beside it, not counting the time for which they were frozen.
    """
    first = successor(marks, old, hurt)
    assert first is not None, "nobody has taken over"
    # what a frozen one had begun before the freeze carries an early instant, and is written late all the same
    written = marks.index(first)
    strays = [
        mark.at
        for place, mark in enumerate(marks)
        if mark.owner != first.owner and (place > written or mark.at > first.at)
    ]
    before = max((mark.at for mark in marks if mark.owner == old and mark.at <= first.at), default=hurt)
    return {
        "ms": (first.at - hurt) / 1e6,
        "gap ms": (first.at - before) / 1e6,
        "overlap rows": len(strays),
        "overlap ms": max(0.0, (max(strays) - max(first.at, resumed)) / 1e6) if strays else 0.0,
    }
