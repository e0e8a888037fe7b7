"""The reliable dictionary: keys in order, values as JSON has them, changed by transactions that a log keeps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from heapq import merge
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar, overload

from locum.errors import StateError
from locum.state.record import LONGEST_KEY
from locum.store import ABSENT
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from locum.state.contents import Collection, Contents
    from locum.state.transaction import Transaction
    from locum.store import Expected

__all__ = ["KeyChange", "ReliableDictionary"]

V = TypeVar("V")
D = TypeVar("D")
_COMPACT: Final = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))
_log = logger("state")


@dataclass(frozen=True, slots=True)
class KeyChange(Generic[V]):
    """What has become of a key, told after its commit.

    Attributes:
        key: The key.
        value: Its value from now on; `None` also where it is gone.
        is_deleted: Whether it is gone.
        position: Of the record of the log.
    """

    key: str
    value: V | None
    is_deleted: bool
    position: int


class ReliableDictionary(Generic[V]):
    """Keys and values of a partition, which survive any replica.

    Promises: what a transaction has committed without an error is read by every primary from then on; a
    secondary reads what was committed up to some position, whole transactions in their order.
    Assumes: keys are texts; values are what JSON has, so that a tuple comes back as a list and a number that is a key
    as a text.
    On loss: a replica that is no primary any more refuses transactions, and goes on being read.

    Args:
        name: Its name.
        contents: Where it is read from, at any time.
    """

    def __init__(self, name: str, contents: Callable[[], Contents]) -> None:
        self.name = name
        self._contents = contents
        self._subscribers: dict[object, Callable[[KeyChange[V] | None], object]] = {}

    # -- what was committed, on any replica

    @overload
    def read(self, key: str) -> V | None: ...
    @overload
    def read(self, key: str, default: D) -> V | D: ...
    def read(self, key: str, default: Any = None) -> Any:
        """The value that was committed last, as far as this replica knows; waits for nobody."""
        value = self._here.values.get(key)
        return default if value is None else json.loads(value)

    def __len__(self) -> int:
        return len(self._here.values)

    def items(self, tx: Transaction | None = None, *, start: str = "", prefix: str = "") -> Iterator[tuple[str, V]]:
        """Keys and values in the order of their characters' numbers, as they are at this moment, however long it takes.

        Args:
            tx: A transaction, whose own writes are seen. What others commit in between is not kept off.
            start: The least key.
            prefix: How each key begins.
        """
        found = self._here.snapshot().items(start=start, prefix=prefix)
        if tx is None:
            return ((key, json.loads(value)) for key, value in found)
        self._check(tx)
        own = {key: value for key, value in tx.written(self.name).items() if key >= start and key.startswith(prefix)}
        return self._merged(found, own)

    def subscribe(self, told: Callable[[KeyChange[V] | None], object]) -> Callable[[], None]:
        """Be told of each change after its commit, in the order of the log, on every replica.

        Args:
            told: Called in the event loop, with the change; or with `None` if this replica has loaded all anew, and it
                is not known what has changed. It must be quick. An error is logged.

        Returns:
            Ends it.
        """
        mark = object()
        self._subscribers[mark] = told
        return lambda: self._subscribers.pop(mark, None) and None

    # -- in a transaction, on the primary

    @overload
    async def get(self, tx: Transaction, key: str) -> V | None: ...
    @overload
    async def get(self, tx: Transaction, key: str, default: D) -> V | D: ...
    async def get(self, tx: Transaction, key: str, default: Any = None) -> Any:
        """A value, which nobody else changes until the end of the transaction.

        Raises:
            WaitTimeoutError: Others have had the key for too long.
            NotPrimaryError: This replica is no primary any more.
        """
        value = await tx.read(self.name, self._checked(tx, key))
        return default if value is None else json.loads(value)

    async def set(self, tx: Transaction, key: str, value: V) -> None:
        """Give a key a value.

        Raises:
            WaitTimeoutError: Others have had the key for too long.
            NotPrimaryError: This replica is no primary any more.
            TypeError: JSON has no such value.
        """
        await tx.write(self.name, self._checked(tx, key), _as_json(value))

    async def try_update(self, tx: Transaction, key: str, value: V, *, expect: V | Literal[Expected.ABSENT]) -> bool:
        """Give a key a value, if it has another one.

        Args:
            tx: The transaction.
            key: The key.
            value: The new value.
            expect: The value that it must have; `ABSENT`: it must not be there.

        Returns:
            Whether it had it; if not, nothing is changed.

        Raises:
            WaitTimeoutError: Others have had the key for too long.
            NotPrimaryError: This replica is no primary any more.
        """
        found = await tx.read(self.name, self._checked(tx, key))
        is_as_expected = found is None if expect is ABSENT else found is not None and json.loads(found) == expect
        if is_as_expected:
            await self.set(tx, key, value)
        return is_as_expected

    async def delete(self, tx: Transaction, key: str) -> bool:
        """Take a key out.

        Returns:
            Whether it was there.

        Raises:
            WaitTimeoutError: Others have had the key for too long.
            NotPrimaryError: This replica is no primary any more.
        """
        was_there = await tx.read(self.name, self._checked(tx, key)) is not None
        if was_there:
            await tx.write(self.name, key, None)
        return was_there

    # -- for the state

    def tell(self, key: str, value: str | None, position: int) -> None:
        """Tell who wants to know that a key was changed."""
        if self._subscribers:
            now = None if value is None else json.loads(value)
            self._tell(KeyChange(key, now, value is None, position))

    def tell_anew(self) -> None:
        """Tell who wants to know that anything may have changed."""
        self._tell(None)

    # -- inside

    @property
    def _here(self) -> Collection:
        return self._contents()[self.name]

    def _merged(self, found: Iterator[tuple[str, str]], own: dict[str, str | None]) -> Iterator[tuple[str, V]]:
        others = ((key, value) for key, value in found if key not in own)
        ours = sorted((key, value) for key, value in own.items() if value is not None)
        return ((key, json.loads(value)) for key, value in merge(others, ours))

    def _checked(self, tx: Transaction, key: str) -> str:
        self._check(tx)
        if not 0 < len(key) <= LONGEST_KEY or "\0" in key:
            raise StateError(f"a key has 1 to {LONGEST_KEY} characters, none of them zero: {key[:50]!r} cannot be one")
        key.encode()  # a half of a surrogate pair has no bytes
        return key

    def _check(self, tx: Transaction) -> None:
        if tx.contents is not self._contents():
            raise StateError(f"the dictionary {self.name} is of another partition than the transaction")

    def _tell(self, change: KeyChange[V] | None) -> None:
        for told in list(self._subscribers.values()):
            try:
                told(change)
            except Exception:
                _log.exception("who is told of changes of %s has failed", self.name)


def _as_json(value: Any) -> str:
    text = _COMPACT.encode(value)
    text.encode()
    return text
