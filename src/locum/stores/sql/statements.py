"""PostgreSQL's statements: the steps of a call, folded into one that commits by itself.

Each step is a common table expression that changes something and returns what it changed; the next one stands on that.
Within one statement nothing is seen that was committed after it began. So each step is written to be right all the
same: rows that are changed or locked are looked at anew by PostgreSQL when they have changed meanwhile; a row that was
added meanwhile collides with its key, and the call is made again; a row that is bound to a session dies with it even if
its deletion missed it.

What is composed here is written down, and read from there (`wording.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import CTE, Text, bindparam, case, func, literal, literal_column, select, union_all
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.schema import CreateIndex, CreateSchema, CreateTable

from locum.stores.sql.statement import Statement
from locum.stores.sql.steps import Steps
from locum.stores.sql.tables import Tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Insert, Update
    from sqlalchemy.sql.elements import ClauseElement

__all__ = ["Statements"]

_DIALECT: Final = asyncpg_dialect()  # type: ignore[no-untyped-call]
_LONGEST_MESSAGE: Final = 7000  # a notification takes 7999 bytes


class Statements:
    """The statements on the tables of one schema.

    Args:
        schema: Its name.
    """

    def __init__(self, schema: str) -> None:
        self.tables = Tables(schema)
        self._steps = steps = Steps(self.tables)
        self.first = self._first()
        self.look = _of(steps.look())
        self.read = _of(steps.read())
        self.list, self.list_after = _of(steps.listing()), _of(steps.listing_after())
        self.follow = _of(self._tell_everywhere(steps.follow().returning(literal_column("1"))))
        self.lift = self._lift()
        self.begin = self._begin()
        self.open_session = self._open_session()
        self.beat = _of(steps.beat().returning(self.tables.sessions.c.beat))
        self.watch_generation = _of(steps.watch_generation())
        self.next_generation = self._next_generation()
        self.forget_gone, self.forget = _of(steps.forget_gone()), _of(steps.forget())
        self.close, self.close_if_silent = (self._close(beat=beat) for beat in (False, True))
        self.delete, self.delete_at = (self._delete(at=at) for at in (False, True))
        self.sessions, self.open_sessions = (_of(steps.statuses(named=named)) for named in (True, False))

    def definition(self) -> list[str]:
        """The statements that make the schema and its tables where they are not there."""
        tables = self.tables.metadata.sorted_tables
        made: list[Any] = [CreateSchema(self.tables.schema, if_not_exists=True)]
        made += [CreateTable(table, if_not_exists=True) for table in tables]
        made += [CreateIndex(index, if_not_exists=True) for table in tables for index in table.indexes]
        return [str(one.compile(dialect=_DIALECT)).strip() for one in made]

    def write(self, kind: str, open_ids: Sequence[str], *, gone: bool, empty: bool) -> Statement:
        """Compare and set.

        Args:
            kind: What is expected: `at` a revision, `absent`, or `any`.
            open_ids: The parameters that name sessions which must be open.
            gone: Whether one must be closed.
            empty: Whether there is a prefix under which no record may stand.
        """
        steps, records = self._steps, self.tables.records.c
        conditions = {"at": [steps.is_at()], "absent": [steps.is_absent()], "any": []}[kind]
        if empty:
            conditions.append(steps.is_empty())
        counted = self._count(*conditions)
        guards = steps.guards(counted, open_ids=open_ids, gone=gone)
        if kind == "at":
            changes: list[Update | Insert] = [steps.put_at(counted, guards)]
        else:
            over = steps.put_over_gone if kind == "absent" else steps.put_over
            changes = [over(counted, guards), steps.put_new(counted, guards)]
        puts = [
            change.returning(records.revision, records.created).cte(f"put_{at}") for at, change in enumerate(changes)
        ]
        put = puts[0] if len(puts) == 1 else union_all(*(select(one) for one in puts)).cte("put")
        dropped = steps.drop(put).returning(literal_column("1").label("one")).cte("dropped")
        told = self._tell(put, bindparam("keys", type_=Text()))
        return _of(select(put.c.revision, put.c.created, told).add_cte(dropped))

    # -- inside

    def _first(self) -> Statement:
        absent = postgresql.insert(self.tables.store).from_select(
            [one.name for one in self.tables.store.c], self._steps.first_row()
        )
        return _of(absent.on_conflict_do_nothing())

    def _delete(self, *, at: bool) -> Statement:
        counted = self._count(self._steps.is_at() if at else self._steps.is_there())
        deleted = self._steps.delete(counted, at=at).returning(self.tables.records.c.key).cte("deleted")
        told = self._tell(deleted, bindparam("key", type_=Text()))
        return _of(select(counted.c.revision, told).select_from(counted.join(deleted, literal(1) == 1)))

    def _open_session(self) -> Statement:
        steps = self._steps
        counted = self._count(steps.is_unknown())
        made = steps.open_session(counted).returning(self.tables.sessions.c.ttl).cte("made")
        raised = steps.raise_max_ttl(counted).returning(literal_column("1").label("one")).cte("raised")
        first = steps.first_max_ttl(counted).returning(literal_column("1").label("one")).cte("first")
        told = self._tell(made, bindparam("session_key", type_=Text()))
        return _of(
            select(counted.c.revision, told).select_from(counted.join(made, literal(1) == 1)).add_cte(raised, first)
        )

    def _close(self, *, beat: bool) -> Statement:
        steps = self._steps
        counted = self._count(steps.is_closable(beat=beat))
        closed = steps.close(counted, beat=beat).returning(self.tables.sessions.c.id).cte("closed")
        bound = steps.unbind(closed).returning(self.tables.records.c.key).cte("bound")
        names = select(func.coalesce(func.string_agg(literal(" ") + bound.c.key, literal("")), "")).scalar_subquery()
        told = self._tell(closed, bindparam("session_key", type_=Text()) + names)
        return _of(select(counted.c.revision, told).select_from(counted.join(closed, literal(1) == 1)))

    def _begin(self) -> Statement:
        steps, store = self._steps, self.tables.store.c
        begun = steps.begin().returning(store.incarnation, store.revision).cte("begun")
        buried = steps.bury_all(begun).returning(literal_column("1").label("one")).cte("buried")
        unbound = steps.unbind_all(begun).returning(literal_column("1").label("one")).cte("unbound")
        told = self._tell(begun, literal(""), channel="everywhere")
        return _of(select(begun.c.incarnation, begun.c.revision, told).add_cte(buried, unbound))

    def _lift(self) -> Statement:
        lifted = self._steps.lift().returning(self.tables.store.c.revision).cte("lifted")
        told = self._tell(lifted, bindparam("incarnation_key", type_=Text()), channel="everywhere")
        return _of(select(lifted.c.revision, told))

    def _next_generation(self) -> Statement:
        turned = self._steps.next_generation().returning(self.tables.namespaces.c.generation).cte("turned")
        forgotten = self._steps.forget_days(turned).returning(literal_column("1").label("one")).cte("forgotten")
        return _of(select(turned.c.generation).add_cte(forgotten))

    def _count(self, *conditions: ColumnElement[bool]) -> CTE:
        return self._steps.count(*conditions).returning(self.tables.store.c.revision).cte("counted")

    def _tell_everywhere(self, change: Any) -> Any:
        changed = change.cte("changed")
        return select(self._tell(changed, literal(""), channel="everywhere")).select_from(changed)

    @staticmethod
    def _tell(changed: CTE, keys: ColumnElement[str], *, channel: str = "space") -> ColumnElement[int]:
        """Wake whoever waits, if a step has changed something; too many keys to be named are told as anything."""
        message = case((func.octet_length(keys) > _LONGEST_MESSAGE, ""), else_=keys)
        told = select(func.pg_notify(bindparam(channel, type_=Text()), message).label("told")).select_from(changed)
        return select(func.count()).select_from(told.limit(1).cte("told")).scalar_subquery().label("told")


def _of(construct: ClauseElement) -> Statement:
    """Compile what SQLAlchemy describes."""
    compiled: Any = construct.compile(dialect=_DIALECT)
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return Statement(str(compiled), tuple(compiled.positiontup or ()), constants)
