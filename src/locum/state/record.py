"""Records of the log: what was committed together, in the order of its commits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from json.encoder import encode_basestring as _quoted
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from locum.state.pace import Pace

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["KEYS", "LONGEST_KEY", "Change", "LogRecord", "Written", "folded", "understood"]

KEYS: Final = ""
"""The dictionary that has the idempotency keys: no user's has this name."""
LONGEST_KEY: Final = 512
"""Characters of a key."""


class Change(NamedTuple):
    """What has become of one key.

    Attributes:
        dictionary: Whose key.
        key: The key.
        value: Its value from now on, as JSON; `None`: it is gone.
    """

    dictionary: str
    key: str
    value: str | None


@dataclass(frozen=True, slots=True)
class LogRecord:
    """What was committed together. Position and token are its identity: who has a token sends one thing to a position.

    Attributes:
        position: Its place in the log; the first is 1.
        token: Of the term that wrote it.
        changes: In order; a later one of the same key counts.
    """

    position: int
    token: int
    changes: tuple[Change, ...]

    @property
    def body(self) -> str:
        """As the log has it."""
        changes = (
            f"[{_quoted(change.dictionary)},{_quoted(change.key)},"
            f"{'null' if change.value is None else _quoted(change.value)}]"
            for change in self.changes
        )
        return f"[{','.join(changes)}]"

    @classmethod
    def of(cls, position: int, token: int, body: str) -> Self:
        """As the log has it."""
        return cls(position, token, tuple(Change(*one) for one in json.loads(body)))


class Written(NamedTuple):
    """A record as the log has it, which is not understood yet."""

    position: int
    token: int
    body: str


async def understood(found: Iterable[Written]) -> list[LogRecord]:
    """What was read of a log, a slice at a time."""
    records, pace = [], Pace()
    for written in found:
        records.append(LogRecord.of(*written))
        await pace.did(len(records[-1].changes))
    return records


def folded(records: Iterable[LogRecord]) -> list[tuple[Change, int]]:
    """What some records come to: the last change of each key, and its position; in the order of these."""
    last: dict[tuple[str, str], tuple[int, Change]] = {}
    for record in records:
        for change in record.changes:
            last[change.dictionary, change.key] = record.position, change
    return [(change, position) for (position, change) in sorted(last.values(), key=lambda one: (one[0], *one[1][:2]))]
