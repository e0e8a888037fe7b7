"""Rows that show who worked when, and the verdict over them: nothing in it asks Locum, or believes it.

Promises: `judge` finds every row that was written under an old token after one under a newer token, every pair of
terms that overlap by the clock that the rows carry, and every token under which two processes worked.
Limits: it judges what was written. A body that works without writing is not seen, so let it write often.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from locum.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Ledger", "Row", "falls", "judge", "overlaps", "twins"]

_ENOUGH: Final = 5  # findings of one sort: more of them say nothing new


@dataclass(frozen=True, slots=True)
class Row:
    """One sign of life of a body.

    Attributes:
        token: The token it was written under.
        at: When it was about to be written, in nanoseconds of any clock that all rows share; 0 if unknown.
        pid: The process that wrote it; 0 if unknown.
        who: `body`, `end` for the last row of one that ended in peace, or another name for a child of the body's.
    """

    token: int
    at: int = 0
    pid: int = 0
    who: str = "body"

    @property
    def is_of_body(self) -> bool:
        """Whether the body itself wrote it."""
        return self.who in ("body", "end")

    @classmethod
    def of_line(cls, line: bytes) -> Row:
        """The row of a ledger's line."""
        at, pid, token, who = line.split()
        return cls(int(token), int(at), int(pid), who.decode())

    def to_line(self) -> bytes:
        """As a ledger keeps it."""
        return f"{self.at} {self.pid} {self.token} {self.who}\n".encode()


class Ledger:
    """A file of rows, for bodies that have no table of their own: one atomic append a row.

    The order of its rows is the order of the writing, across all processes of a machine.

    Args:
        path: The file; made with the first row.
        clock: Tells when rows are written.
    """

    def __init__(self, path: str | os.PathLike[str], *, clock: Clock | None = None) -> None:
        self.path = Path(path)
        self._clock = clock or Clock()
        self._fd: int | None = None

    def write(self, token: int, who: str = "body") -> None:
        """Write a row of this process, now."""
        row = Row(token, self._clock.now(), os.getpid(), who)
        if self._fd is None:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        os.write(self._fd, row.to_line())

    def rows(self) -> list[Row]:
        """All rows, in the order of writing."""
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        return [Row.of_line(line) for line in lines if line.endswith(b"\n")]


def judge(rows: Iterable[Row]) -> list[str]:
    """Everything that is wrong with some rows, in words; nothing is an empty list.

    Args:
        rows: In the order of their writing, which is decided by whoever keeps them: a file, or a table's own number.
            Rows of a table of yours need no more than their token: `judge(Row(token) for (token,) in found)`.
    """
    known = list(rows)
    return falls(known) + overlaps(known) + twins(known)


def falls(rows: Sequence[Row]) -> list[str]:
    """Rows of an old token that were *written* after one of a newer token: the order of writing alone, no clock."""
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
        if not row.at:
            continue
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
        if row.is_of_body and row.pid:
            pids.setdefault(row.token, set()).add(row.pid)
    return [f"token {token} was used by the processes {sorted(them)}" for token, them in pids.items() if len(them) > 1]
