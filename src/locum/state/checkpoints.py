"""Checkpoints: items that the log comes to up to a position, and what is truncated for it.

Items are written a slice at a time, in the order of their positions, before the checkpoint is moved: so an item may be
newer than the checkpoint, but none is older. Who reads them and then the log after the checkpoint comes out right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, tuple_, update

from locum.errors import LogGapError, StaleTermError
from locum.state.record import Change
from locum.state.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    def write_items(self, db: Connection, partition: int, token: int, items: Sequence[Item]) -> None:
        """Write a slice of a checkpoint, in the order of the positions.

        Raises:
            StaleTermError: A later term has raised the fence.
            LogGapError: The log has not what they come from: its database was put back.
        """
        self._check(db, partition, token, items[-1].position)
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
            LogGapError: The log does not reach that far: its database was put back.
        """
        row = self._partitions.c
        moved = update(self._partitions).where(row.id == partition, row.token == token, self._has(partition, to))
        if not db.execute(moved.values(checkpoint=to, horizon=horizon)).rowcount:
            raise self._refusal(db, partition, token, to)
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

    def _check(self, db: Connection, partition: int, token: int, position: int) -> None:
        fenced = self._fenced(partition, token, self._partitions.c.id).where(self._has(partition, position))
        if db.execute(fenced).first() is None:
            raise self._refusal(db, partition, token, position)

    def _refusal(self, db: Connection, partition: int, token: int, position: int) -> LogGapError | StaleTermError:
        row = self._partitions.c
        service, name, highest, checkpoint = db.execute(
            select(row.service, row.partition, row.token, row.checkpoint).where(row.id == partition)
        ).one()
        if highest == token:
            return LogGapError(f"{service}/{name}", position, checkpoint)
        return StaleTermError(f"state/{service}/{name}", token, highest)
