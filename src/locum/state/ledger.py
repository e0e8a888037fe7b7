"""The state's part of a database: every statement, in functions that each are one transaction's work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from locum.state.checkpoints import Checkpoints
from locum.state.log import Log

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Ledger"]


class Ledger(Log, Checkpoints):
    """What is said to a database about the state of a namespace's partitions.

    Promises: a record that was taken in was written under the highest token, and stands right after the one before it
    that its writer knew; who raises a fence meets afterwards no record that it has not seen.
    Assumes: a statement is atomic, and one that has a row locked is alone with it.
    On loss: a statement that did not commit has left nothing.
    """

    def is_prepared(self, db: Connection) -> bool:
        """Whether the tables are there, of a schema that this release knows or a newer one that it may work on.

        Raises:
            SchemaError: They need a newer reader.
        """
        return self._tables.schema.is_prepared(db, self.store)

    def prepare(self, db: Connection) -> None:
        """Make the tables where there are none, and bring those of an older release forward.

        Raises:
            SchemaError: What is there needs a newer reader.
        """
        self._tables.schema.prepare(db, self.store)

    def number_of(self, db: Connection, service: str, partition: str) -> int:
        """The number of a partition, which is made if it is new."""
        partitions = self._tables.partitions
        names = {"namespace": self._namespace, "service": service, "partition": partition}
        number = select(partitions.c.id).filter_by(**names)
        found = db.execute(number).scalar()
        if found is None:
            db.execute(
                self._inserting(db.dialect, partitions)
                .values(**names, token=0, checkpoint=0, horizon=0)
                .on_conflict_do_nothing()
            )
            found = db.execute(number).scalar_one()
        return int(found)
