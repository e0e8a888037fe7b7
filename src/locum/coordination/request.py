"""Requests: what somebody asks of the holder of a scope, through the store.

One record a scope, which the holder follows if it means the token that it holds: one that comes late asks nobody.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from locum.errors import CorruptRecordError

if TYPE_CHECKING:
    from locum.store import Record

__all__ = ["REQUESTS", "Request", "request_key"]

REQUESTS: Final = "request/"
"""The prefix of all requests."""


def request_key(scope: str) -> str:
    """The key of the request to a scope's holder."""
    return REQUESTS + scope


@dataclass(frozen=True, slots=True)
class Request:
    """Asks for the planned end of one term.

    Attributes:
        token: The token of the term.
        why: Why it ends then, in words that follow the instance's name.
        successor: The instance for which the holder leaves the grant (R22); empty for whoever is next in line.
    """

    token: int
    why: str
    successor: str = ""

    @classmethod
    def of(cls, record: Record) -> Request:
        """The request that a record holds.

        Raises:
            CorruptRecordError: It holds something else.
        """
        try:
            value = json.loads(record.value)
            return cls(int(value["token"]), str(value["why"]), str(value.get("successor", "")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptRecordError(record.key, f"it is no request ({error!r})") from error

    def to_bytes(self) -> bytes:
        """As the store keeps it."""
        value: dict[str, object] = {"token": self.token, "why": self.why}
        if self.successor:
            value["successor"] = self.successor
        return json.dumps(value).encode()
