"""A pause: somebody has forbidden that an election is taken over by itself, for example during maintenance.

Whoever leads goes on, and a transfer to a named instance is carried out. What was on its way when the pause was
written may yet be taken.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from locum.errors import CorruptRecordError

if TYPE_CHECKING:
    from locum.store import Record

__all__ = ["PAUSES", "Pause", "pause_key"]

PAUSES: Final = "pause/"
"""The prefix of all pauses."""


def pause_key(scope: str) -> str:
    """The key of a scope's pause."""
    return PAUSES + scope


@dataclass(frozen=True, slots=True)
class Pause:
    """Why nobody takes over.

    Attributes:
        why: The reason, in words.
        by: Who said so.
        since: When (ISO 8601, UTC), for people.
    """

    why: str
    by: str
    since: str

    @classmethod
    def of(cls, record: Record | None) -> Pause | None:
        """The pause that a record holds; one that cannot be read is one nevertheless."""
        if record is None:
            return None
        try:
            value = json.loads(record.value)
            return cls(str(value["why"]), str(value["by"]), str(value["since"]))
        except (ValueError, KeyError, TypeError) as error:
            return cls(str(CorruptRecordError(record.key, f"it is no pause ({error!r})")), "", "")

    def to_bytes(self) -> bytes:
        """As the store keeps it."""
        return json.dumps(asdict(self)).encode()
