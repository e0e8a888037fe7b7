"""The line: who waits for a scope, in the order of coming.

It makes turns fair and wake-ups few; safety never leans on it (R23).

An entry is bound to its candidate's session and dies with it. A holder keeps its entry while it holds, so the one
behind it watches one key only: it goes when the holder leaves, and when the holder's session is closed.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from locum.coordination.turn import ALONE
from locum.errors import CorruptRecordError, TransferRefusedError
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from locum.coordination.grant import Grant
    from locum.coordination.turn import Manner
    from locum.store import Record

__all__ = [
    "Entry",
    "Place",
    "before_in",
    "check_successor",
    "entry_key",
    "find_place",
    "line_of",
    "line_prefix",
    "waiting_in",
]

_log = logger("coordination.line")


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
        manner: How it wants to hold it; empty for alone.
        priority: The higher ones go before, wherever they stand.
    """

    key: str
    attempt: str
    instance: str
    session: str
    manner: str = ""
    priority: int = 0

    @classmethod
    def of(cls, record: Record) -> Entry:
        """The entry that a record holds."""
        try:
            value = json.loads(record.value)
            return cls(
                record.key,
                record.key.rpartition("/")[2],
                value["instance"],
                record.session or "",
                str(value.get("manner", "")),
                int(value.get("priority", 0)),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptRecordError(record.key, f"it is no place in a line ({error!r})") from error

    @staticmethod
    def value(instance: str, *, manner: str = "", priority: int = 0) -> bytes:
        """The value of an entry's record."""
        value: dict[str, object] = {"instance": instance}
        if manner:
            value["manner"] = manner
        if priority:
            value["priority"] = priority
        return json.dumps(value).encode()


@dataclass(frozen=True, slots=True)
class Place:
    """Where one candidate stands.

    Attributes:
        ahead: How many wait before it.
        watch: The keys whose change may bring its turn.
    """

    ahead: int
    watch: tuple[str, ...]


def line_of(records: Iterable[Record]) -> list[Entry]:
    """The line as its records say, the first one first: by priority, then by coming.

    A record that cannot be read is nobody's place: it holds up none, and goes with its session.
    """
    entries = []
    for record in records:
        try:
            entries.append(Entry.of(record))
        except CorruptRecordError as error:
            _log.warning("passed over in line: %s", error)
    return sorted(entries, key=lambda entry: -entry.priority)  # a stable sort: those of one priority stay as they came


def before_in(entries: Sequence[Entry], attempt: str) -> list[Entry]:
    """Who stands before a candidate; all, if it has no place."""
    return list(itertools.takewhile(lambda entry: entry.attempt != attempt, entries))


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
    entries: Sequence[Entry],
    attempt: str,
    grant: Grant,
    grant_key: str,
    *,
    kept_for: str | None = None,
    manner: Manner = ALONE,
    eyes: int = 2,
) -> Place | None:
    """Where a candidate stands in a line.

    The first ones watch the grant; everyone watches its own entry and the one before it, so that one change wakes few.

    Args:
        entries: The line.
        attempt: The candidate.
        grant: The grant it waits for.
        grant_key: Its key.
        kept_for: The instance for which the grant is reserved at this moment (R22): its candidates have only each other
            before them. The first ones of all watch for those to leave.
        manner: How the candidate wants to hold it, which says who goes before.
        eyes: How many watch the grant.

    Returns:
        Its place, or `None` if its entry is gone: its session has died.
    """
    mine = next((entry for entry in entries if entry.attempt == attempt), None)
    if mine is None:
        return None
    before = before_in(entries, attempt)
    waiting = [entry for entry in before if not grant.is_done_with(entry.attempt)]
    if mine.instance == kept_for:
        waiting = [entry for entry in waiting if entry.instance == kept_for]
    watch = [mine.key, *(entry.key for entry in before[-1:])]
    if len(waiting) < eyes:
        watch += _of_the_first(entries, grant, kept_for, watch)
        watch.append(grant_key)
    return Place(len([entry for entry in waiting if manner.waits_behind(entry.manner)]), tuple(watch))


def _of_the_first(entries: Sequence[Entry], grant: Grant, kept_for: str | None, watched: Sequence[str]) -> list[str]:
    """What the first in a line watch besides."""
    more: list[str] = []
    if grant.holder is not None:
        # the holder's entry may stand behind ours (it came later and was quicker): it is watched wherever it stands
        standing = [entry.key for entry in entries if grant.is_held_by(entry.attempt)]
        # one that took it without a place in line has only its session to tell of its death
        more += [key for key in standing if key not in watched] if standing else [f"session/{grant.holder.session}"]
    if kept_for is not None:
        more += [entry.key for entry in entries if entry.instance == kept_for and entry.key not in watched]
    # those who hold it together stand in line no more: only their sessions tell of their deaths
    return more + [f"session/{session}" for session in dict.fromkeys(share.session for share in grant.shares)]
