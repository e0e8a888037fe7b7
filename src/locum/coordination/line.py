"""The line: who waits for a scope, in the order of coming.

It makes turns fair and wake-ups few; safety never leans on it (R23).

An entry is bound to its candidate's session and dies with it. A holder keeps its entry while it holds, so the one
behind it watches one key only: it goes when the holder leaves, and when the holder's session is closed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from locum.errors import CorruptRecordError, TransferRefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locum.coordination.grant import Grant
    from locum.store import Record

__all__ = ["Entry", "Place", "check_successor", "entry_key", "find_place", "line_prefix", "waiting_in"]


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


def waiting_in(entries: Sequence[Entry], grant: Grant) -> list[str]:
    """The instances that wait in a line, the next one first: whoever holds or held the grant waits for nothing."""
    return [entry.instance for entry in entries if not grant.is_done_with(entry.attempt)]


def check_successor(name: str, to: str, *, holder: str, waiting: Sequence[str]) -> None:
    """Refuse to transfer something to an instance that could not take it (R22).

    Args:
        name: What is to be transferred.
        to: The instance to which.
        holder: The instance that holds it.
        waiting: The instances that wait for it.

    Raises:
        TransferRefusedError: It holds it already, or does not wait for it.
    """
    if to == holder:
        raise TransferRefusedError(name, to, "it is the active one already")
    if to not in waiting:
        others = f"in line: {', '.join(dict.fromkeys(waiting))}" if waiting else "nobody does"
        raise TransferRefusedError(name, to, f"it does not wait in line ({others})")


def find_place(
    entries: Sequence[Entry], attempt: str, grant: Grant, grant_key: str, *, kept_for: str | None = None
) -> Place | None:
    """Where a candidate stands in a line.

    The first two watch the grant; everyone watches its own entry and the one before it, so that one change wakes few.

    Args:
        entries: The line.
        attempt: The candidate.
        grant: The grant it waits for.
        grant_key: Its key.
        kept_for: The instance for which the grant is reserved at this moment (R22): its candidates have only each other
            before them. The first two of all watch for those to leave.

    Returns:
        Its place, or `None` if its entry is gone: its session has died.
    """
    mine = next((entry for entry in entries if entry.attempt == attempt), None)
    if mine is None:
        return None
    before = list(entries[: entries.index(mine)])
    ahead = [entry for entry in before if not grant.is_done_with(entry.attempt)]
    if mine.instance == kept_for:
        ahead = [entry for entry in ahead if entry.instance == kept_for]
    watch = [mine.key, *(entry.key for entry in before[-1:])]
    if grant.holder is not None and len(ahead) <= 1:
        # the holder's entry may stand behind ours (it came later and was quicker): it is watched wherever it stands
        watch += [entry.key for entry in entries if grant.is_held_by(entry.attempt) and entry.key not in watch]
    if kept_for is not None and len(ahead) <= 1:
        watch += [entry.key for entry in entries if entry.instance == kept_for and entry.key not in watch]
    if len(ahead) <= 1:
        watch.append(grant_key)
    return Place(len(ahead), tuple(watch))
