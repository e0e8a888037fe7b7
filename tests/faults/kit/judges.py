"""The verdicts: pure functions from rows to what is wrong with them, in words. No finding is a list without entries."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.kit.rows import Row

__all__ = ["falls", "faults", "gap", "overlaps", "rows_after", "twins"]

_ENOUGH = 5  # findings of one sort: more of them say nothing new


def faults(rows: Sequence[Row]) -> list[str]:
    """Everything that is wrong with some rows in the order of their writing."""
    return falls(rows) + overlaps(rows) + twins(rows)


def falls(rows: Sequence[Row]) -> list[str]:
    """Rows of an old token that were *written* after one of a newer token: the file's own order, no clock asked."""
    found = []
    newest: Row | None = None
    for row in rows:
        if newest is not None and row.token < newest.token:
            found.append(f"{row} was written after {newest}")
        else:
            newest = row
    return found[:_ENOUGH]


def overlaps(rows: Sequence[Row]) -> list[str]:
    """Tokens whose last row is later, by the clock, than the first row of a newer token.

    A row's instant is read before it is written, so this sees what the order of writing cannot: a new body that had
    begun while the old one still wrote.
    """
    first: dict[int, Row] = {}
    last: dict[int, Row] = {}
    for row in rows:
        if row.token not in first or row.at < first[row.token].at:
            first[row.token] = row
        if row.token not in last or row.at > last[row.token].at:
            last[row.token] = row
    tokens = sorted(first)
    return [
        f"{last[old]} is {(last[old].at - first[new].at) / 1e6:.3f} ms later than {first[new]}"
        for old, new in pairwise(tokens)
        if last[old].at >= first[new].at
    ][:_ENOUGH]


def twins(rows: Sequence[Row]) -> list[str]:
    """Tokens under which more than one process ran a body (R19)."""
    pids: dict[int, set[int]] = {}
    for row in rows:
        if row.is_of_body:
            pids.setdefault(row.token, set()).add(row.pid)
    return [f"token {token} was used by the processes {sorted(them)}" for token, them in pids.items() if len(them) > 1]


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
