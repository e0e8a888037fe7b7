"""One partition's rows in the database, asked under the database's deadline."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from locum.state.record import understood

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from locum.databases.database import Database
    from locum.state.checkpoints import Item
    from locum.state.ledger import Ledger
    from locum.state.log import Fate, Head
    from locum.state.record import LogRecord

__all__ = ["Partition"]


class Partition:
    """One partition, in the database.

    Every call raises `StoreUnavailableError` if nothing was done or answered, one that changes something also
    `OutcomeUnknownError` if it may have been.

    Attributes:
        name: Of the service and the partition, for messages.
        number: Of its rows.

    Args:
        database: Where.
        service: The service.
        partition: Its partition.
        number: Of its rows.
    """

    def __init__(self, database: Database[Ledger], service: str, partition: str, number: int) -> None:
        self._database, self._ledger = database, database.ledger
        self._appending = self._ledger.appending(database.dialect)
        self._names = (service, partition)
        self.name, self.number = f"{service}/{partition}", number

    @property
    def store(self) -> str:
        """The database's URL, for messages."""
        return self._ledger.store

    @property
    def scope(self) -> str:
        """What its tokens are of, for messages."""
        return f"state/{self.name}"

    async def raise_fence(self, token: int) -> Head:
        """Have lower tokens be refused; the head says whether this one is the highest."""

        def work(db: Connection) -> tuple[int, Head]:
            number = self._ledger.number_of(db, *self._names)  # another one where its database was put back
            return number, self._ledger.raise_fence(db, number, token)

        self.number, head = await self._database.transact(work)
        return head

    async def head(self) -> Head:
        """What its row says."""
        return await self._database.ask(partial(self._ledger.head, partition=self.number))

    async def append(self, record: LogRecord) -> bool:
        """Append a record; whether that was done."""
        values = {"partition": self.number, "position": record.position, "token": record.token, "body": record.body}
        return await self._database.tell(self._appending, values)

    async def fate_of(self, record: LogRecord) -> Fate:
        """What has become of a record."""
        return await self._database.ask(partial(self._ledger.fate_of, partition=self.number, record=record))

    async def continues(self, position: int, token: int | None) -> bool:
        """Whether its log still has what was read of it."""
        last = (position, token)
        question = partial(self._ledger.continues, partition=self.number, names=self._names, last=last)
        return await self._database.ask(question)

    async def standing(self, position: int) -> tuple[int, bool]:
        """The highest token that its fence has seen, and whether what was committed up to a position is there."""
        return await self._database.ask(partial(self._ledger.standing, partition=self.number, position=position))

    async def find(self) -> None:
        """Find its rows again, which have another number where its database was put back to before they were made."""
        self.number = await self._database.transact(lambda db: self._ledger.number_of(db, *self._names))

    async def after(self, position: int, limit: int) -> list[LogRecord]:
        """Records after a position."""
        found = await self._database.ask(partial(self._ledger.tail, after={self.number: position}, limit=limit))
        return await understood(written for _, written in found)

    async def page(self, after: tuple[str, str], limit: int) -> list[Item]:
        """Keys that are there as of a checkpoint, in order."""
        return await self._database.ask(partial(self._ledger.page, partition=self.number, after=after, limit=limit))

    async def changed(self, after: Item, limit: int) -> list[Item]:
        """What checkpoints have changed after an item."""
        return await self._database.ask(partial(self._ledger.changed, partition=self.number, after=after, limit=limit))

    async def write_items(self, token: int, items: Sequence[Item]) -> None:
        """Write a slice of a checkpoint."""
        work = partial(self._ledger.write_items, partition=self.number, token=token, items=items)
        await self._database.transact(work)

    async def move(self, token: int, *, to: int, kept: int, horizon: int) -> None:
        """Move the checkpoint."""
        work = partial(self._ledger.move, partition=self.number, token=token, to=to, kept=kept, horizon=horizon)
        await self._database.transact(work)
