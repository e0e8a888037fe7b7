"""The grant: the one record that says who holds a scope, and the one compare-and-set that changes it (R12 to R14).

A grant is never deleted while its scope is in use, so its token only grows; without a holder it is *vacant*. It is
bound to no session: a holder whose session is gone is skipped by whoever meets it. What several hold together (reads,
permits) stands in the same record, so that the same compare-and-set decides; and so does the small value that goes with
it, which only the holder's compare-and-set can change.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from locum.errors import CorruptRecordError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from locum.store import Record

__all__ = ["MOST_SHARES", "MOST_VALUE", "Grant", "Holder", "Past", "Reserved", "grant_key"]

MOST_SHARES: Final = 160
"""How many may hold one scope together: so many of the longest names fit into one record."""

MOST_VALUE: Final = 32 * 1024
"""The largest value that goes with a grant, in bytes."""

_MOST_WORDS: Final = 1000  # of a reason: an error's text may be of any length, and a record is not


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
        delay: For so long (ns) nobody follows it if it does not give the scope up itself; everyone counts that on its
            own clock from its own first sight of the death (R29).
    """

    session: str
    attempt: str
    instance: str
    since: str
    delay: int = 0

    def to_json(self) -> dict[str, object]:
        """As its part of a grant's record."""
        value = asdict(self)
        if not self.delay:
            del value["delay"]
        return value


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "why", self.why[:_MOST_WORDS])


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
        value: The small value that goes with it; `None` if there is none.
        shares: Those who hold it together.
        revision: The revision to compare with; 0 if there is no record yet.
    """

    token: int = 0
    holder: Holder | None = None
    past: Past | None = None
    reserved: Reserved | None = None
    value: bytes | None = None
    shares: tuple[Holder, ...] = ()
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
                value=None if value.get("value") is None else base64.b64decode(value["value"], validate=True),
                shares=tuple(Holder(**share) for share in value.get("shares", ())),
                revision=record.revision,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRecordError(record.key, f"it is no grant ({error!r})") from error

    def to_bytes(self) -> bytes:
        """As the store keeps it."""
        # a record that needs no new field has none
        value: dict[str, object] = {
            "token": self.token,
            "holder": self.holder and self.holder.to_json(),
            "past": self.past and asdict(self.past),
        }
        if self.reserved is not None:
            value["reserved"] = asdict(self.reserved)
        if self.value is not None:
            value["value"] = base64.b64encode(self.value).decode()
        if self.shares:
            value["shares"] = [share.to_json() for share in self.shares]
        return json.dumps(value).encode()

    def taken_by(self, holder: Holder, *, floor: int) -> Grant:
        """The grant after a take: the next token above its own and the floor (R20); its value stays."""
        return Grant(max(self.token, floor) + 1, holder, value=self.value)

    def with_value(self, value: bytes | None) -> Grant:
        """The same with another value."""
        return replace(self, value=value)

    def given_up(self, past: Past, reserved: Reserved | None = None) -> Grant:
        """The vacant grant after a release, which keeps the token (R18) and the value."""
        return replace(self, holder=None, past=past, reserved=reserved)

    def shared_with(self, share: Holder, *, gone: Collection[str]) -> Grant:
        """The grant after one more has joined those who hold it together, without those whose sessions are gone."""
        stay = tuple(one for one in self.shares if one.session not in gone)
        return replace(self, holder=None, reserved=None, shares=(*stay, share))

    def without(self, attempt: str) -> Grant:
        """The grant after one of those who hold it together has left."""
        return replace(self, shares=tuple(one for one in self.shares if one.attempt != attempt))

    @property
    def occupants(self) -> tuple[Holder, ...]:
        """All that it names."""
        return self.shares if self.holder is None else (self.holder, *self.shares)

    def is_shared_by(self, attempt: str) -> bool:
        """Whether that acquisition is one of those that hold it together."""
        return any(share.attempt == attempt for share in self.shares)

    def is_held_by(self, attempt: str) -> bool:
        """Whether that very acquisition holds it."""
        return self.holder is not None and self.holder.attempt == attempt

    def is_done_with(self, attempt: str) -> bool:
        """Whether that acquisition holds it or was the last to do so: it waits for nothing."""
        if self.past is not None and self.past.attempt == attempt:
            return True
        return self.is_held_by(attempt) or self.is_shared_by(attempt)
