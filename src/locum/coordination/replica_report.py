"""What an instance tells, for people, of the replicas that it carries: one record, which goes with its session."""

from __future__ import annotations

import json
from collections.abc import Mapping  # in a signature that is read when the program runs
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from locum.errors import CorruptRecordError

if TYPE_CHECKING:
    from locum.store import Record

__all__ = ["KIND", "REPORTS", "Report", "Told"]

KIND: Final = "partition"
"""What a stateful service is divided into, as scopes and keys say it."""

REPORTS: Final = f"{KIND}-report/"
"""The prefix of all reports."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one replica.

    Attributes:
        position: Of the last record of the state that it has.
        lag: Seconds, whole ones: all that was acknowledged earlier is in what it has; `None` if that is not known.
    """

    position: int
    lag: int | None


@dataclass(frozen=True, slots=True)
class Report:
    """What one instance tells of one service.

    Attributes:
        instance: Its name.
        least: How many replicas each partition is to have at the least.
        replicas: Those that it carries, by the index of the partition.
    """

    instance: str
    least: int
    replicas: Mapping[int, Told]

    @classmethod
    def of(cls, record: Record) -> Report:
        """The report that a record holds.

        Raises:
            CorruptRecordError: It holds something else.
        """
        try:
            said: dict[str, Any] = json.loads(record.value)
            replicas = {
                int(index): Told(int(position), None if lag is None else int(lag))
                for index, (position, lag) in said["replicas"].items()
            }
            return cls(str(said["instance"]), int(said["least"]), replicas)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptRecordError(record.key, f"it tells nothing of replicas ({error!r})") from error

    def to_bytes(self) -> bytes:
        """As the store keeps it."""
        replicas = {str(index): (one.position, one.lag) for index, one in self.replicas.items()}
        return json.dumps({"instance": self.instance, "least": self.least, "replicas": replicas}).encode()
