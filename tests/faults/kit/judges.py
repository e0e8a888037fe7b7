"""The verdicts: pure functions from rows to what is wrong with them, in words. No finding is a list without entries.

What any user can want to know is judged in public; what follows an injury at a known instant is judged here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from locum.testing.ledger import falls, overlaps, twins
from locum.testing.ledger import judge as faults

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locum.testing.ledger import Row

__all__ = ["falls", "faults", "gap", "overlaps", "rows_after", "twins"]

_ENOUGH = 5  # findings of one sort: more of them say nothing new


def rows_after(rows: Sequence[Row], token: int, instant: int) -> list[str]:
    """Rows of one token that are later than an instant (boot clock, ns)."""
    return [
        f"{row} is {(row.at - instant) / 1e6:.1f} ms too late"
        for row in rows
        if row.token == token and row.at > instant
    ][:_ENOUGH]


def gap(rows: Sequence[Row], old: int, new: int) -> int:
    """Nanoseconds from the last row of one token to the first of another; negative if they overlap."""
    return min(row.at for row in rows if row.token == new) - max(row.at for row in rows if row.token == old)
