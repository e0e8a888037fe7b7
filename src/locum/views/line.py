"""Who waits for what, as the records of lines and grants say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from locum.coordination.grant import Grant, grant_key
from locum.coordination.line import Entry, line_prefix
from locum.errors import CorruptRecordError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from locum.store import Record

__all__ = ["GRANTS", "LINES", "Line", "grant_of", "lines_of"]

GRANTS: Final = grant_key("election/")
"""The prefix of the grants of all services."""

LINES: Final = line_prefix("election")
"""The prefix of the lines of all services."""


@dataclass(frozen=True, slots=True)
class Line:
    """Who waits for one service.

    Attributes:
        waiting: Pairs of session and instance, the next one first.
        trouble: What of it cannot be read; empty if all can.
    """

    waiting: tuple[tuple[str, str], ...] = ()
    trouble: str = ""

    def place(self, session: str) -> int | None:
        """The place of a session's first candidate, 1 for the next; `None` if it does not wait."""
        return next((place for place, (one, _) in enumerate(self.waiting, 1) if one == session), None)


def lines_of(
    lines: Sequence[Record],
    grants: Sequence[Record],
    sessions: Collection[str],
    *,
    kind: str = "election",
) -> dict[str, Line]:
    """By the service's name: who waits, without those that hold or held what they stand in line for.

    Args:
        lines: The records of the lines.
        grants: Those of the grants.
        sessions: The ids of the open sessions.
        kind: The first part of the scopes, which the names do without.
    """
    granted = {record.key.removeprefix(grant_key(f"{kind}/")): grant_of(record) for record in grants}
    found: dict[str, Line] = {}
    for record in lines:
        name = record.key.removeprefix(line_prefix(kind)).rpartition("/")[0]
        line, grant = found.get(name, Line()), granted.get(name)
        try:
            entry = Entry.of(record)
        except CorruptRecordError as error:
            found[name] = replace(line, trouble=str(error))
            continue
        stands = entry.session in sessions and not (isinstance(grant, Grant) and grant.is_done_with(entry.attempt))
        found[name] = replace(line, waiting=(*line.waiting, (entry.session, entry.instance))) if stands else line
    return found


def grant_of(record: Record) -> Grant | CorruptRecordError:
    """The grant of a record, or why it cannot be read: one such record spoils no picture."""
    try:
        return Grant.of(record)
    except CorruptRecordError as error:
        return error
