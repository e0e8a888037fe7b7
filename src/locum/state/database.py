"""The database of all states of a process: one connection or a few, one ear, and one look for all that follow a log."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from locum.clock import Clock
from locum.databases import opening
from locum.databases.hearing import hear
from locum.errors import ConfigurationError, StoreError
from locum.registry import without_secrets
from locum.scopes import Backoff, Scope, happens
from locum.state.record import understood
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from locum.databases.database import Database
    from locum.state.ledger import Ledger
    from locum.state.record import LogRecord

__all__ = ["Follower", "StateDatabase", "opened", "state_store_beside"]

T = TypeVar("T")
_POLL: Final = 0.5  # seconds between two looks, if nobody says that there is something
_RECORDS: Final = 500  # of one look
_log = logger("state")


class Follower(Protocol):
    """Who follows the log of a partition.

    Attributes:
        number: Of the partition's rows.
        position: Of the last record that it knows.
        is_behind: Whether it has to catch up first, and takes nothing.
    """

    @property
    def number(self) -> int: ...  # noqa: D102

    @property
    def position(self) -> int: ...  # noqa: D102

    @property
    def is_behind(self) -> bool: ...  # noqa: D102

    async def receive(self, records: Sequence[LogRecord], asked_at: int | None) -> None:
        """Take records.

        Args:
            records: The last one that it knows, if the log still has it, and those that come next, as of when this was
                asked.
            asked_at: When it was asked, if these are all that there were; by the clock.
        """


class StateDatabase:
    """The database of a process's states.

    Args:
        database: Where.
        clock: The clock.
    """

    def __init__(self, database: Database[Ledger], clock: Clock) -> None:
        self.rows, self.clock = database, clock
        self._followers: dict[int, Follower] = {}
        self._nudge = asyncio.Event()

    async def number_of(self, service: str, partition: str) -> int:
        """The number of a partition's rows, which are made if they are new."""
        return await self.rows.transact(lambda db: self.rows.ledger.number_of(db, service, partition))

    def follow(self, follower: Follower) -> None:
        """Give someone what comes next in the log of a partition; at once, and from then on."""
        self._followers[id(follower)] = follower
        self._nudge.set()

    def leave(self, follower: Follower) -> None:
        """Give them nothing any more."""
        self._followers.pop(id(follower), None)

    async def listen(self) -> None:
        """Look at once when others say that there is something."""
        await hear(self.rows, self._nudge.set, self.clock)

    async def look(self) -> None:
        """Look what comes next, for all who follow, with one question."""
        backoff = Backoff(0.1, _POLL)
        while True:
            if await happens(self._nudge.wait(), within=_POLL if self._followers else None):
                self._nudge.clear()
            try:
                while await self._look():
                    pass
                backoff.reset()
            except StoreError as error:
                _log.debug("the log cannot be followed for now: %s", error)
                await self.clock.sleep(backoff.delay())

    async def _look(self) -> bool:
        """One look; whether there may be more."""
        followers = [one for one in self._followers.values() if not one.is_behind]
        known: dict[int, int] = {}
        for one in followers:
            known[one.number] = min(one.position, known.get(one.number, one.position))
        if not known:
            return False
        asked_at = self.clock.now()
        limit = _RECORDS + len(known)
        found = await self.rows.ask(lambda db: self.rows.ledger.following(db, known, limit))
        is_all = len(found) < limit
        records = list(zip((number for number, _ in found), await understood(one for _, one in found), strict=True))
        for one in followers:
            if id(one) in self._followers:  # with no turn of the loop before it takes them: it may be the primary then
                new = [record for number, record in records if number == one.number and record.position >= one.position]
                await one.receive(new, asked_at if is_all else None)
        return not is_all


def state_store_beside(store: str) -> str:
    """The URL of the state's database that goes with a store of which none is given.

    Raises:
        ConfigurationError: The store is none that keeps states.
    """
    url = opening.beside(store, "state")
    if url is None:
        raise ConfigurationError(
            f"{without_secrets(store)} keeps no state of services: give it a database of its own, by"
            " Host(state_store=...) or LOCUM_STATE_STORE: sqlite:///state.db or postgresql://..."
        )
    return url


@asynccontextmanager
async def opened(
    url: str, *, namespace: str, timeout: float = opening.TIMEOUT, clock: Clock | None = None
) -> AsyncIterator[StateDatabase]:
    """The state's database of a URL, open for the length of the block.

    Args:
        url: The URL.
        namespace: Whose states.
        timeout: Seconds that a transaction of the database may take.
        clock: The clock.

    Raises:
        ConfigurationError: It can be none.
        StoreUnavailableError: It is not there.
    """
    async with opening.opened(url, _STATE, namespace=namespace, timeout=timeout) as database:
        shared = StateDatabase(database, clock or Clock())
        async with Scope(f"the state in {without_secrets(url)}", on_error=_failed) as scope:
            scope.spawn(shared.listen(), name="listen")
            scope.spawn(shared.look(), name="look")
            yield shared


def _failed(task: str, error: BaseException) -> None:
    _log.error("%s has failed: nothing that others write is seen here any more", task, exc_info=error)


def _load() -> Callable[[str | None, str, str], Ledger]:
    from locum.state.ledger import Ledger
    from locum.state.tables import Tables

    return lambda schema, namespace, url: Ledger(Tables(schema), namespace, url)


_STATE: Final = opening.Purpose("state", "state", _load)
