"""Statements that are composed once and said often, about one row or many: in the same words however many they are.

A server that is told the same words again has understood them already. So many rows go as one array a column to
PostgreSQL, whose text is written down at its first use; other databases are told a statement once, and its values row
by row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import String, bindparam, column, func, insert, not_, select

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, CursorResult, Table
    from sqlalchemy.types import TypeEngine

__all__ = ["Many", "Sentence", "Words", "has_arrays"]

_MARK: Final = "b_"  # before the names of values, which must not be those of columns
_Value: TypeAlias = "Callable[[str], Any]"


class Words:
    """What a sentence is composed of, where databases differ.

    Args:
        has_arrays: Whether a list is one value.
    """

    def __init__(self, *, has_arrays: bool) -> None:
        self._has_arrays = has_arrays

    def among(self, column: Any, name: str) -> Any:
        """Whether a column is one of the texts that are given under a name."""
        if not self._has_arrays:
            return column.in_(bindparam(name, expanding=True))
        return column == func.any(bindparam(name, type_=_array(String())))

    def any_of(self, column: Any, name: str) -> Any:
        """The same, where the texts are many: whatever index a server reads, each row is looked for in a table of them.

        By `among` it compares each row that it reads with each of the texts, unless an index has the column.
        """
        if not self._has_arrays:
            return self.among(column, name)
        return column.in_(select(func.unnest(bindparam(name, type_=_array(String())))))

    def not_among(self, column: Any, name: str) -> Any:
        """Whether it is none of them."""
        return not_(self.among(column, name))


class Sentence:
    """A statement that is composed at its first use.

    Args:
        compose: Composes it.
    """

    def __init__(self, compose: Callable[[Words], Any]) -> None:
        self._compose = compose
        self._statement: Any = None
        self._text: _Text | None = None

    def say(self, db: Connection, **values: Any) -> CursorResult[Any]:
        """Say it.

        Args:
            db: The transaction.
            values: What is bound in it, by name.
        """
        if has_arrays(db):
            if self._text is None:
                self._text = _Text(self._compose(Words(has_arrays=True)), db)
            return self._text.say(db, values)
        if self._statement is None:
            self._statement = self._compose(Words(has_arrays=False))
        return db.execute(self._statement, values)


class Many:
    """A statement about many rows.

    Args:
        kinds: What is given of each row, by name, and of which type.
        compose: Composes the statement, of what stands in it for a value of one row.
    """

    def __init__(self, kinds: Mapping[str, TypeEngine[Any]], compose: Callable[[_Value], Any]) -> None:
        self._kinds, self._compose = kinds, compose
        self._statement: Any = None
        self._text: _Text | None = None

    @classmethod
    def into(cls, table: Table) -> Many:
        """Insert rows, of which each column is given."""
        kinds = {column.name: column.type for column in table.c}
        return cls(kinds, lambda one: insert(table).from_select(list(kinds), select(*map(one, kinds))))

    def say(self, db: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Say it of some rows, or of none."""
        if not rows:
            return
        if not has_arrays(db):
            if self._statement is None:
                self._statement = self._compose(self._of_one)
            db.execute(self._statement, [{_MARK + name: row[name] for name in self._kinds} for row in rows])
            return
        if self._text is None:
            self._text = _Text(self._of_all(), db)
        self._text.say(db, {_MARK + name: [row[name] for row in rows] for name in self._kinds})

    def _of_one(self, name: str) -> Any:
        return bindparam(_MARK + name, type_=self._kinds[name])

    def _of_all(self) -> Any:
        arrays = [bindparam(_MARK + name, type_=_array(kind)) for name, kind in self._kinds.items()]
        columns = [column(name, kind) for name, kind in self._kinds.items()]
        rows = func.unnest(*arrays).table_valued(*columns, name="given").render_derived()
        return self._compose(lambda name: rows.c[name])


class _Text:
    """A statement as a server is told it, and in which order its values are."""

    def __init__(self, statement: Any, db: Connection) -> None:
        compiled = statement.compile(dialect=db.dialect)
        self._words = str(compiled)
        self._values = [(name, compiled.params[name]) for name in compiled.positiontup]

    def say(self, db: Connection, values: Mapping[str, Any]) -> CursorResult[Any]:
        return db.exec_driver_sql(self._words, tuple(values.get(name, fixed) for name, fixed in self._values))


def has_arrays(db: Connection) -> bool:
    """Whether a list is one value to a database; it reads from what a change returns, too."""
    return db.dialect.name == "postgresql"


def _array(kind: TypeEngine[Any]) -> Any:
    from sqlalchemy.dialects.postgresql import ARRAY

    return ARRAY(String() if isinstance(kind, String) else kind)  # of no length, to which it would be cut unseen
