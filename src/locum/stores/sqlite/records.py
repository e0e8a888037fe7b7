"""The statements on records: compare and set, compare and delete."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from locum.errors import ConflictError
from locum.store import ABSENT, ANY, Record
from locum.stores.sqlite import changes

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from locum.store import Expect

__all__ = ["RecordTable"]

_RECORD: Final = "SELECT key, value, revision, created, session FROM locum_records WHERE namespace = ?"
_COUNT: Final = "SELECT count(*) FROM locum_records WHERE namespace = ?"
_UNDER: Final = " AND key >= ? AND key < ?"


def _under(prefix: str) -> tuple[str, str]:
    return prefix, prefix + "\U0010ffff"


@dataclass(frozen=True, slots=True)
class RecordTable:
    """The records of one namespace, within a transaction.

    Attributes:
        namespace: Whose they are.
    """

    namespace: str

    def read(self, db: sqlite3.Connection, key: str) -> Record | None:
        """The record of a key."""
        row = db.execute(f"{_RECORD} AND key = ?", (self.namespace, key)).fetchone()
        return Record(*row) if row else None

    def list(
        self, db: sqlite3.Connection, prefix: str, after: int | None = None, named: Collection[str] = ()
    ) -> list[Record]:
        """The records under a prefix in order of creation; all, or those after a revision and those that are named."""
        given: list[object] = [self.namespace, *_under(prefix)]
        which = ""
        if after is not None:
            which = " AND (revision > ? OR key IN (SELECT value FROM json_each(?)))"
            given += [after, json.dumps(list(named))]
        rows = db.execute(f"{_RECORD}{_UNDER}{which} ORDER BY created", given).fetchall()
        return [Record(*row) for row in rows]

    def count(self, db: sqlite3.Connection, prefix: str) -> int:
        """How many records are under a prefix."""
        (number,) = db.execute(f"{_COUNT}{_UNDER}", (self.namespace, *_under(prefix))).fetchone()
        return int(number)

    def is_empty(self, db: sqlite3.Connection, prefix: str) -> bool:
        """Whether no record is under a prefix."""
        found = db.execute(f"{_RECORD}{_UNDER} LIMIT 1", (self.namespace, *_under(prefix))).fetchone()
        return found is None

    def demand(self, db: sqlite3.Connection, key: str, expect: Expect) -> Record | None:
        """The current record, which is as expected."""
        current = self.read(db, key)
        if expect is ANY:
            return current
        if expect is ABSENT:
            if current is not None:
                raise ConflictError(key, current, "it exists already")
        elif current is None or current.revision != expect:
            raise ConflictError(key, current)
        return current

    def put(
        self, db: sqlite3.Connection, key: str, value: bytes, *, current: Record | None, session: str | None
    ) -> Record:
        """Write a record in the place of the current one."""
        revision = changes.count(db, self.namespace, key)
        created = current.created if current else revision
        db.execute(
            "INSERT OR REPLACE INTO locum_records (namespace, key, value, revision, created, session)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (self.namespace, key, value, revision, created, session),
        )
        return Record(key, value, revision, created, session)

    def delete(self, db: sqlite3.Connection, key: str, expect: Expect) -> int | None:
        """Delete the record of a key, which is as expected.

        Returns:
            The revision of this change; `None` if there was no record.
        """
        if self.read(db, key) is None:
            return None
        self.demand(db, key, expect)
        db.execute("DELETE FROM locum_records WHERE namespace = ? AND key = ?", (self.namespace, key))
        return changes.count(db, self.namespace, key)
