"""What a session's record says about its owner, and what its tombstone says about its end (R2)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from locum.errors import CorruptRecordError
from locum.identity import MachineKey, ProcessId

__all__ = ["ENFORCEMENTS", "Ending", "Owner"]

ENFORCEMENTS: Final = ("cancel", "kill")
"""What may happen to work whose time is up."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The instance that a session belongs to.

    Attributes:
        name: The instance's name.
        machine: The machine's name, for people.
        key: Within which pids mean something.
        keeper: The process that beats.
        worker: The process that works.
        enforcement: `kill` or `cancel`.
        kind: `observed`, or `native` where the store times the session.
    """

    name: str
    machine: str
    key: MachineKey
    keeper: ProcessId
    worker: ProcessId
    enforcement: str = "kill"
    kind: str = "observed"

    @property
    def is_embedded(self) -> bool:
        """Whether the keeper is a thread of the process that works, which is not Locum's."""
        return self.keeper == self.worker

    def to_bytes(self) -> bytes:
        """As the store keeps it."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, value: bytes) -> Owner:
        """From what the store kept.

        Raises:
            CorruptRecordError: It is not the record of an owner.
        """
        try:
            fields: dict[str, Any] = json.loads(value)
            return cls(
                name=fields["name"],
                machine=fields["machine"],
                key=MachineKey(**fields["key"]),
                keeper=ProcessId(**fields["keeper"]),
                worker=ProcessId(**fields["worker"]),
                enforcement=fields["enforcement"],
                kind=fields["kind"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRecordError("session", f"its owner is unreadable ({error!r})") from error


@dataclass(frozen=True, slots=True)
class Ending:
    """How something ended, in words, and when it was seen.

    Attributes:
        why: Words that follow a name: "was killed (SIGKILL)".
        at: When it was seen (boot clock, ns); 0 if that is not known.
        key: Where `at` was read; it means nothing elsewhere (R29).
    """

    why: str
    at: int = 0
    key: str = ""

    def to_bytes(self) -> bytes:
        """As a tombstone keeps it."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, value: bytes) -> Ending:
        """From a tombstone; words are made of what cannot be read."""
        try:
            return cls(**json.loads(value))
        except (ValueError, TypeError):
            return cls(value.decode("utf-8", "replace") or "is gone")

    def age(self, now: int, key: str) -> int | None:
        """Nanoseconds since then, or `None` if it was seen by another machine's clock."""
        return now - self.at if self.at and self.key == key and now >= self.at else None
