"""A transaction: keys that it has to itself, what it has written so far, and its commit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from locum.errors import OutcomeUnknownError, StateError
from locum.state.idempotency import LONGEST
from locum.state.record import KEYS, Change

if TYPE_CHECKING:
    from locum.state.commits import Commit, Commits
    from locum.state.contents import Contents
    from locum.state.locks import Locks, Name

__all__ = ["Transaction"]


class Transaction:
    """What is done together, or not at all: made by `State.transaction`.

    Promises: it is alone with the keys that it reads and writes until its outcome is known; it sees what it has written
    itself; what it has read was the latest when it returned without an error.
    Assumes: its body is not used by two tasks at once.
    On loss: nothing is written, or what `OutcomeUnknownError` says.

    Attributes:
        is_repeated: Whether one with the same idempotency key was committed before; then nothing of it is written.
        result: Kept with the idempotency key, as JSON has it: of one that is repeated, what the first one kept.
    """

    def __init__(self, commits: Commits, locks: Locks, contents: Contents, *, key: str | None, timeout: float) -> None:
        if key is not None and not 0 < len(key) <= LONGEST:
            raise StateError(f"an idempotency key has 1 to {LONGEST} characters, and not {len(key)}")
        self.contents = contents
        self._commits, self._locks, self._key, self._timeout = commits, locks, key, timeout
        self._names: set[Name] = set()
        self._writes: dict[Name, str | None] = {}
        self._commit: Commit | None = None
        self._is_over = self._has_read = False
        self.is_repeated = False
        self.result: Any = None

    async def begin(self) -> None:
        """See whether it is repeated."""
        if self._key is None:
            return
        kept = await self.read(KEYS, self._key)
        if kept is not None:
            self.is_repeated, self.result = True, json.loads(kept)

    async def read(self, dictionary: str, key: str) -> str | None:
        """A value as JSON; `None` if there is none.

        Raises:
            WaitTimeoutError: Others have had the key for too long.
            NotPrimaryError: This is no primary any more.
        """
        name = (dictionary, key)
        await self._take(name)
        return self._writes[name] if name in self._writes else self.contents[dictionary].values.get(key)

    async def write(self, dictionary: str, key: str, value: str | None) -> None:
        """Have a key have a value from the commit on; `None`: have it not be there.

        Raises:
            WaitTimeoutError: Others have had the key for too long.
            NotPrimaryError: This is no primary any more.
        """
        await self._take((dictionary, key))
        self._writes[dictionary, key] = value

    def written(self, dictionary: str) -> dict[str, str | None]:
        """What it has written so far in a dictionary that is enumerated, which is a way of reading."""
        self._has_read = True
        return {key: value for (name, key), value in self._writes.items() if name == dictionary}

    async def commit(self) -> None:
        """Have it all written, and wait until it is."""
        self._check()
        self._is_over = True
        changes = [] if self.is_repeated else [Change(*name, value) for name, value in self._writes.items()]
        if self._key is not None and not self.is_repeated:
            changes.append(Change(KEYS, self._key, json.dumps(self.result, allow_nan=False, ensure_ascii=False)))
        if not changes and not self._names and not self._has_read:
            return
        # until it is known what has become of it, nobody else may build on these keys
        self._commit = self._commits.begin(changes, self._release)
        await self._commits.finish(self._commit, timeout=self._timeout)

    def end(self) -> None:
        """Be done: what was not committed is not written."""
        self._is_over = True
        if self._commit is None:
            self._release()

    async def settled(self) -> bool:
        """Wait until it is known what has become of it, after an `OutcomeUnknownError`.

        Returns:
            Whether it is in the log.

        Raises:
            OutcomeUnknownError: Nobody can tell any more.
        """
        if self._commit is None:
            return False
        await self._commit.wait()
        if isinstance(self._commit.error, OutcomeUnknownError):
            raise self._commit.error
        return self._commit.error is None

    # -- inside

    async def _take(self, name: Name) -> None:
        self._check()
        await self._locks.acquire(self, name, timeout=self._timeout)
        self._names.add(name)
        self._check()

    def _check(self) -> None:
        if self._is_over:
            raise StateError("the transaction is over: begin another one")

    def _release(self) -> None:
        self._locks.release(self, self._names)
