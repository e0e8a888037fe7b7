"""The grant: the one record that says who holds a scope, and the one compare-and-set that changes it (R12 to R14).

A grant is never deleted while its scope is in use, so its token only grows; without a holder it is *vacant*. It is
bound to no session: a holder whose session is gone is skipped by whoever meets it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from locum.errors import CorruptRecordError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from locum.store import Record

__all__ = ["Grant", "Holder", "Past", "Reserved", "grant_key"]


def grant_key(scope: str) -> str:
    """The key of a scope's grant."""
    return f"grant/{scope}"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a scope.

    Attributes:
        session: The session it lives by.
        attempt: The random id of this very acquisition: two tasks of one process are two candidates (R12).
        instance: Its instance's name, for people.
        since: When it took it (ISO 8601, UTC), for people.
    """

    session: str
    attempt: str
    instance: str
    since: str


@dataclass(frozen=True, slots=True)
class Past:
    """How the last holder gave the scope up.

    Attributes:
        attempt: Which acquisition it was.
        instance: Its instance's name.
        since: When it had taken it (ISO 8601, UTC), for people.
        why: In words that follow the name.
        at: When its body had ended (boot clock, ns), within `key`.
        key: The machine key of that clock.
    """

    attempt: str
    instance: str
    since: str
    why: str
    at: int
    key: str


@dataclass(frozen=True, slots=True)
class Reserved:
    """For whom a vacant grant is kept: the last holder has transferred it (R22).

    Attributes:
        instance: Only candidates of this instance take it.
        wait: For so long (ns), which every candidate counts on its own clock from its own first sight of it (R29).
    """

    instance: str
    wait: int

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Reserved:
        """From its part of a grant's record; what a later release adds to it is left out."""
        if type(value["wait"]) is not int:
            raise ValueError(f"it is reserved for {value['wait']!r}")
        return cls(str(value["instance"]), value["wait"])


@dataclass(frozen=True, slots=True)
class Grant:
    """The state of one scope.

    Attributes:
        token: The token of the holder, or of the last one.
        holder: Who holds it; `None` if it is vacant.
        past: How the last one gave it up, if it did so itself.
        reserved: For whom the last one gave it up; `None` if for whoever is next. The next take clears it.
        revision: The revision to compare with; 0 if there is no record yet.
    """

    token: int = 0
    holder: Holder | None = None
    past: Past | None = None
    reserved: Reserved | None = None
    revision: int = field(default=0, compare=False)

    @classmethod
    def of(cls, record: Record | None) -> Grant:
        """The grant that a record holds.

        Raises:
            CorruptRecordError: It holds something else.
        """
        if record is None:
            return cls()
        try:
            value: dict[str, Any] = json.loads(record.value)
            if type(value["token"]) is not int:
                raise ValueError(f"its token is {value['token']!r}")
            return cls(
                token=value["token"],
                holder=None if value["holder"] is None else Holder(**value["holder"]),
                past=None if value["past"] is None else Past(**value["past"]),
                reserved=None if value.get("reserved") is None else Reserved.of(value["reserved"]),
                revision=record.revision,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRecordError(record.key, f"it is no grant ({error!r})") from error

    def to_bytes(self) -> bytes:
        """As the store keeps it."""
        value = asdict(self)
        del value["revision"]
        if self.reserved is None:
            del value["reserved"]  # a record that needs no new field has none
        return json.dumps(value).encode()

    def taken_by(self, holder: Holder, *, floor: int) -> Grant:
        """The grant after a take: the next token above its own and the floor (R20)."""
        return Grant(max(self.token, floor) + 1, holder)

    def given_up(self, past: Past, reserved: Reserved | None = None) -> Grant:
        """The vacant grant after a release, which keeps the token (R18)."""
        return replace(self, holder=None, past=past, reserved=reserved)

    def is_held_by(self, attempt: str) -> bool:
        """Whether that very acquisition holds it."""
        return self.holder is not None and self.holder.attempt == attempt

    def is_done_with(self, attempt: str) -> bool:
        """Whether that acquisition holds it or was the last to do so: it waits for nothing."""
        return self.is_held_by(attempt) or (self.past is not None and self.past.attempt == attempt)
