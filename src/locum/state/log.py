"""The log: fences are raised, records appended and read. The fence is looked at by the statement that appends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, case, func, literal_column, or_, select, update

from locum.databases.statement import Statement
from locum.state.record import Written
from locum.state.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Dialect

    from locum.state.record import LogRecord

__all__ = ["Fate", "Head", "Log", "Verdict"]


@dataclass(frozen=True, slots=True)
class Head:
    """What the row of a partition says.

    Attributes:
        token: The highest token that its fence has seen.
        checkpoint: The position up to which its items are complete.
        horizon: The position up to which keys that are gone are forgotten.
    """

    token: int
    checkpoint: int
    horizon: int


class Verdict(Enum):
    """What has become of a record."""

    LANDED = auto()
    REFUSED = auto()
    OPEN = auto()  # it may be sent again
    PARTED = auto()  # the log has not what came before it any more: its database was put back
    FORGOTTEN = auto()  # nobody can tell any more: the place where it would stand was truncated


@dataclass(frozen=True, slots=True)
class Fate:
    """What has become of a record, and the highest token that the fence has seen."""

    verdict: Verdict
    highest: int


class Log(Rows):
    """The log of each partition, and its fence."""

    def head(self, db: Connection, partition: int) -> Head:
        """What the row of a partition says."""
        row = self._partitions.c
        found = db.execute(select(row.token, row.checkpoint, row.horizon).where(row.id == partition)).one()
        return Head(*found)

    def standing(self, db: Connection, partition: int, position: int) -> tuple[int, bool]:
        """The highest token that the fence has seen, and whether what was committed up to a position is there."""
        row = self._partitions.c
        asked = select(row.token, self._has(partition, position)).where(row.id == partition)
        token, is_there = db.execute(asked).one()
        return int(token), bool(is_there)

    def raise_fence(self, db: Connection, partition: int, token: int) -> Head:
        """Have the fence refuse lower tokens; who waits for it has waited for every append that was let through before.

        Returns:
            What the row says now: this token, or a higher one that was there.
        """
        row = self._partitions.c
        db.execute(update(self._partitions).where(row.id == partition, row.token < token).values(token=token))
        return self.head(db, partition)

    def appending(self, dialect: Dialect) -> Statement:
        """Append a record, whose `partition`, `position`, `token` and `body` are bound.

        It comes right after what is there: a database that was put back has lost what came before it, and takes nothing
        of one who does not know. It returns something if it was appended; if not, `fate_of` knows why.
        """
        log = self._log.c
        columns = [log.partition, log.position, log.token, log.body]
        record = [bindparam(column.name, type_=column.type) for column in columns]
        fenced = self._fenced(record[0], record[2], *record).where(
            self._has(record[0], record[1] - literal_column("1"))
        )
        appended = self._inserting(dialect, self._log).from_select(columns, fenced)
        return Statement.of(appended.on_conflict_do_nothing().returning(log.position), dialect)

    def fate_of(self, db: Connection, partition: int, record: LogRecord) -> Fate:
        """What has become of a record that may have been sent more than once. In a transaction, or after the fact."""
        row = self._partitions.c
        # the fence first: a record that is not there after it was raised does not come any more
        head = self.head(db, partition)
        log = self._log.c
        at = select(log.token).where(log.partition == partition, log.position == record.position)
        found = db.execute(at).scalar()
        if found == record.token:
            return Fate(Verdict.LANDED, head.token)
        if found is not None:
            return Fate(Verdict.REFUSED, head.token)
        if head.token == record.token:
            is_next = self.standing(db, partition, record.position - 1)[1]
            return Fate(Verdict.OPEN if is_next else Verdict.PARTED, head.token)
        truncated = int(db.execute(select(row.checkpoint).where(row.id == partition)).scalar_one())
        return Fate(Verdict.FORGOTTEN if record.position <= truncated else Verdict.REFUSED, head.token)

    def continues(self, db: Connection, partition: int, names: tuple[str, str], last: tuple[int, int | None]) -> bool:
        """Whether the log still has what a replica has read of it: else its database was put back, or exchanged.

        Args:
            db: A transaction.
            partition: The partition.
            names: Of the service and the partition, whose rows these are to be.
            last: The position of the last record that was read, and the token of the term that wrote it, if that is
                known.
        """
        row, log, (position, token) = self._partitions.c, self._log.c, last
        end = select(func.max(log.position)).where(log.partition == partition).scalar_subquery()
        at = select(log.token).where(log.partition == partition, log.position == position).scalar_subquery()
        names_are_ours = (row.namespace == self._namespace, row.service == names[0], row.partition == names[1])
        found = db.execute(select(row.checkpoint, end, at).where(row.id == partition, *names_are_ours)).first()
        if found is None or max(found[0], found[1] or 0) < position:
            return False
        return found[2] is None or token is None or found[2] == token

    def following(self, db: Connection, known: Mapping[int, int], limit: int) -> list[tuple[int, Written]]:
        """As `tail`; and before them each last record that is known, if it is still there, without what it changed."""
        log = self._log.c
        new = or_(*(and_(log.partition == one, log.position > position) for one, position in known.items()))
        here = (and_(log.partition == one, log.position >= position) for one, position in known.items())
        asked = select(log.partition, log.position, log.token, case((new, log.body))).where(or_(*here))
        rows = db.execute(asked.order_by(log.partition, log.position).limit(limit))
        return [(partition, Written(position, token, body or "[]")) for partition, position, token, body in rows]

    def tail(self, db: Connection, after: Mapping[int, int], limit: int) -> list[tuple[int, Written]]:
        """Records that come after what is known.

        Args:
            db: A transaction.
            after: The position of the last record that is known, by the partition.
            limit: The most records.

        Returns:
            Partitions and records, in their order.
        """
        log = self._log.c
        new: list[Any] = [and_(log.partition == one, log.position > position) for one, position in after.items()]
        asked = select(log.partition, log.position, log.token, log.body).where(or_(*new))
        rows = db.execute(asked.order_by(log.partition, log.position).limit(limit))
        return [(partition, Written(position, token, body)) for partition, position, token, body in rows]
