"""Partitions: into which parts the state of a service is divided, and to which of them a key belongs.

How a service is divided is for good: what is kept in a partition stays there. The first instance writes it down, and
whoever says something else later is refused; callers read it there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from locum.coordination.assignment import MOST_SHARDS, key_hash
from locum.errors import ConfigurationError, ConflictError, CorruptRecordError
from locum.names import check_name
from locum.store import ABSENT

if TYPE_CHECKING:
    from locum.store import Record, Store

__all__ = [
    "PARTITIONINGS",
    "Key",
    "Partition",
    "Partitioning",
    "declare",
    "int64_range",
    "named",
    "partitioning_of",
    "singleton",
]

_LOWEST: Final = -(2**63)
_HIGHEST: Final = 2**63 - 1
_ONLY: Final = "0"

PARTITIONINGS: Final = "partitioning/"
"""The prefix of the records that say how services are divided."""

Key = int | str | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One part of a service's state.

    Attributes:
        index: Its place among the others, from 0.
        name: Its name: what was given, or its index.
        low: The lowest number that belongs to it; `None` if it has no range.
        high: The highest one.
    """

    index: int
    name: str
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Partitioning:
    """How a service is divided; made by `singleton`, `named` and `int64_range`.

    Attributes:
        scheme: `singleton`, `named` or `int64_range`.
        names: The names of the partitions.
        low: The lowest number of a range.
        high: The highest one.
    """

    scheme: str
    names: tuple[str, ...]
    low: int = _LOWEST
    high: int = _HIGHEST

    @classmethod
    def of(cls, record: Record) -> Partitioning:
        """The one that a record holds.

        Raises:
            CorruptRecordError: It holds something else.
        """
        try:
            said: dict[str, Any] = json.loads(record.value)
            names = tuple(str(name) for name in said["names"])
            found = cls(str(said["scheme"]), names, int(said["low"]), int(said["high"]))
            if found.scheme not in ("singleton", "named", "int64_range") or not names:
                raise ValueError(f"its scheme is {found.scheme!r}, with {len(names)} partitions")
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRecordError(record.key, f"it says nothing of partitions ({error!r})") from error
        return found

    def to_bytes(self) -> bytes:
        """As its record keeps it."""
        return json.dumps({"scheme": self.scheme, "names": self.names, "low": self.low, "high": self.high}).encode()

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """All of them."""
        return tuple(map(self._at, range(len(self.names))))

    def partition(self, key: Key | None = None) -> Partition:
        """The one to which a key belongs.

        Args:
            key: Of a named one, the partition's name. Of a range, a number of it, or a text or bytes, whose hash counts
                (the same on every machine, in every process and release). A single one needs none.

        Raises:
            ConfigurationError: No partition is meant by it.
        """
        if self.scheme == "singleton":
            return self._at(0)
        if self.scheme == "named":
            if key not in self.names:
                raise ConfigurationError(f"{key!r} names no partition: there are {', '.join(self.names)}")
            return self._at(self.names.index(str(key)))
        if key is None or isinstance(key, bool):
            raise ConfigurationError(f"{key!r} is no key of a partition: give a number, a text or bytes")
        number = key if isinstance(key, int) else self.low + key_hash(key) % (self.high - self.low + 1)
        if not self.low <= number <= self.high:
            raise ConfigurationError(f"{number} belongs to no partition: they go from {self.low} to {self.high}")
        return self._at((number - self.low) * len(self.names) // (self.high - self.low + 1))

    def _at(self, index: int) -> Partition:
        if self.scheme != "int64_range":
            return Partition(index=index, name=self.names[index])
        span, count = self.high - self.low + 1, len(self.names)
        # the first number that is mapped to an index, and the last before the next one's
        low, after = -(-index * span // count), -(-(index + 1) * span // count)
        return Partition(index=index, name=self.names[index], low=self.low + low, high=self.low + after - 1)


def singleton() -> Partitioning:
    """One partition, which has all."""
    return Partitioning("singleton", (_ONLY,))


def named(*names: str) -> Partitioning:
    """One partition for each name, and the name is the key.

    Raises:
        ConfigurationError: There cannot be such partitions.
    """
    checked = tuple(check_name(name, what="the name of a partition") for name in names)
    if not checked or len(set(checked)) < len(checked):
        raise ConfigurationError(f"partitions named {', '.join(names) or 'nothing'}: each needs a name of its own")
    return Partitioning("named", checked)


def int64_range(count: int, *, low: int = _LOWEST, high: int = _HIGHEST) -> Partitioning:
    """A range of numbers in parts of equal size, which differ by one at most; texts and bytes belong by their hash.

    Args:
        count: How many parts.
        low: The lowest number.
        high: The highest one.

    Raises:
        ConfigurationError: There cannot be such partitions.
    """
    if not (_LOWEST <= low <= high <= _HIGHEST):
        raise ConfigurationError(
            f"a range from {low} to {high} cannot be: both are signed numbers of 64 bits, in order"
        )
    if not 1 <= count <= min(MOST_SHARDS, high - low + 1):
        raise ConfigurationError(f"{count} partitions of the numbers from {low} to {high} cannot be")
    return Partitioning("int64_range", tuple(map(str, range(count))), low, high)


async def partitioning_of(store: Store, service: str) -> Partitioning | None:
    """How a service is divided; `None` if it is not."""
    record = await store.read(PARTITIONINGS + service)
    return None if record is None else Partitioning.of(record)


async def declare(store: Store, service: str, partitioning: Partitioning) -> None:
    """Write down how a service is divided: for good.

    Raises:
        ConfigurationError: It is divided otherwise already.
        StoreError: The store does not answer.
    """
    known = await partitioning_of(store, service)
    if known is None:
        try:
            await store.write(PARTITIONINGS + service, partitioning.to_bytes(), expect=ABSENT)
        except ConflictError:
            known = await partitioning_of(store, service)
    if known is not None and known != partitioning:
        raise ConfigurationError(
            f"{service} has {len(known.names)} partitions by {known.scheme}, and cannot have {len(partitioning.names)}"
            f" by {partitioning.scheme}: what is kept stays where it is. Give the other one another name"
        )
