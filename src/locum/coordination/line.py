"""The line: who waits for a scope, in the order of coming.

It makes turns fair and wake-ups few; safety never leans on it (R23).

An entry is bound to its candidate's session and dies with it. A holder keeps its entry while it holds, so the one
behind it watches one key only: it goes when the holder leaves, and when the holder's session is closed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from locum.errors import CorruptRecordError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locum.coordination.grant import Grant
    from locum.store import Record

__all__ = ["Entry", "Place", "entry_key", "find_place", "line_prefix"]


def line_prefix(scope: str) -> str:
    """The prefix of a scope's line."""
    return f"line/{scope}/"


def entry_key(scope: str, attempt: str) -> str:
    """The key of one candidate's entry."""
    return line_prefix(scope) + attempt


@dataclass(frozen=True, slots=True)
class Entry:
    """One candidate in a line.

    Attributes:
        key: The entry's key.
        attempt: Which acquisition it is.
        instance: The instance's name.
        session: The session with which it dies.
    """

    key: str
    attempt: str
    instance: str
    session: str

    @classmethod
    def of(cls, record: Record) -> Entry:
        """The entry that a record holds."""
        try:
            value = json.loads(record.value)
            return cls(record.key, record.key.rpartition("/")[2], value["instance"], record.session or "")
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRecordError(record.key, f"it is no place in a line ({error!r})") from error

    @staticmethod
    def value(instance: str) -> bytes:
        """The value of an entry's record."""
        return json.dumps({"instance": instance}).encode()


@dataclass(frozen=True, slots=True)
class Place:
    """Where one candidate stands.

    Attributes:
        ahead: How many wait before it.
        watch: The keys whose change may bring its turn.
    """

    ahead: int
    watch: tuple[str, ...]


def find_place(entries: Sequence[Entry], attempt: str, grant: Grant, grant_key: str) -> Place | None:
    """Where a candidate stands in a line.

    The first two watch the grant; everyone watches its own entry and the one before it, so that one change wakes few.

    Returns:
        Its place, or `None` if its entry is gone: its session has died.
    """
    mine = next((entry for entry in entries if entry.attempt == attempt), None)
    if mine is None:
        return None
    before = list(entries[: entries.index(mine)])
    ahead = [entry for entry in before if not grant.is_done_with(entry.attempt)]
    watch = [mine.key, *(entry.key for entry in before[-1:])]
    if grant.holder is not None and len(ahead) <= 1:
        # the holder's entry may stand behind ours (it came later and was quicker): it is watched wherever it stands
        watch += [entry.key for entry in entries if grant.is_held_by(entry.attempt) and entry.key not in watch]
    if len(ahead) <= 1:
        watch.append(grant_key)
    return Place(len(ahead), tuple(watch))
