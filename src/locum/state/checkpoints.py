"""Checkpoints: items that the log comes to up to a position, and what is truncated for it.

Items are written a slice at a time, in the order of their positions, before the checkpoint is moved: so an item may be
newer than the checkpoint, but none is older. Who reads them and then the log after the checkpoint comes out right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, tuple_, update

from locum.errors import StaleTermError
from locum.state.record import Change
from locum.state.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

__all__ = ["Checkpoints", "Item"]


@dataclass(frozen=True, slots=True)
class Item:
    """A key as of a checkpoint, and the position of its last change."""

    change: Change
    position: int


class Checkpoints(Rows):
    """The items of each partition."""

    def page(self, db: Connection, partition: int, after: tuple[str, str], limit: int) -> list[Item]:
        """Keys that are there, in order."""
        item = self._items.c
        # the text ends nothing: what is compared is said again as a bound of the first column, for the index
        beyond = (item.dictionary >= after[0], tuple_(item.dictionary, item.key) > after)
        where = (item.partition == partition, item.value.is_not(None), *beyond)
        return self._found(db, select(*self._columns).where(*where).order_by(item.dictionary, item.key).limit(limit))

    def changed(self, db: Connection, partition: int, after: Item, limit: int) -> list[Item]:
        """What was changed after an item, in the order of the positions, and then of the keys."""
        item = self._items.c
        at = (after.position, after.change.dictionary, after.change.key)
        beyond = (item.position >= after.position, tuple_(item.position, item.dictionary, item.key) > at)
        order = (item.position, item.dictionary, item.key)
        where = (item.partition == partition, *beyond)
        return self._found(db, select(*self._columns).where(*where).order_by(*order).limit(limit))

    def write_items(self, db: Connection, partition: int, token: int, items: Iterable[Item]) -> None:
        """Write a slice of a checkpoint.

        Raises:
            StaleTermError: A later term has raised the fence.
        """
        self._check(db, partition, token)
        written = self._inserting(db.dialect, self._items)
        new = {"value": written.excluded.value, "position": written.excluded.position}
        key = [self._items.c.partition, self._items.c.dictionary, self._items.c.key]
        older = self._items.c.position < written.excluded.position
        rows = [{"partition": partition, **one.change._asdict(), "position": one.position} for one in items]
        db.execute(written.on_conflict_do_update(index_elements=key, set_=new, where=older), rows)

    def move(self, db: Connection, partition: int, token: int, *, to: int, kept: int, horizon: int) -> None:
        """Move the checkpoint, whose items are written; truncate the log, and forget keys that are long gone.

        Args:
            db: A transaction.
            partition: The partition.
            token: Of the term.
            to: The position.
            kept: The position of the first record that stays.
            horizon: The position up to which keys that are gone are forgotten.

        Raises:
            StaleTermError: A later term has raised the fence.
        """
        row = self._partitions.c
        moved = update(self._partitions).where(row.id == partition, row.token == token)
        if not db.execute(moved.values(checkpoint=to, horizon=horizon)).rowcount:
            raise self._stale(db, partition, token)
        log, item = self._log.c, self._items.c
        db.execute(delete(self._log).where(log.partition == partition, log.position < kept))
        gone = (item.value.is_(None), item.position <= horizon)
        db.execute(delete(self._items).where(item.partition == partition, *gone))

    # -- inside

    @property
    def _columns(self) -> tuple[Any, ...]:
        item = self._items.c
        return item.dictionary, item.key, item.value, item.position

    def _found(self, db: Connection, asked: Any) -> list[Item]:
        return [Item(Change(*change), position) for *change, position in db.execute(asked)]

    def _check(self, db: Connection, partition: int, token: int) -> None:
        if db.execute(self._fenced(partition, token, self._partitions.c.id)).first() is None:
            raise self._stale(db, partition, token)

    def _stale(self, db: Connection, partition: int, token: int) -> StaleTermError:
        row = self._partitions.c
        service, name, highest = db.execute(
            select(row.service, row.partition, row.token).where(row.id == partition)
        ).one()
        return StaleTermError(f"state/{service}/{name}", token, highest)
