"""What the calls do, step by step, in words that every dialect of SQLAlchemy can say.

Whatever changes more than a beat *counts* first: it raises the store's revision, and so holds the store's row until it
is committed. Only one changes at a time, and revisions become visible in their order. What follows is done under what
was `counted`: where a database cannot answer within a statement, that is the store's row itself.

A step that finds nothing to do changes nothing; then the caller looks why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, case, delete, exists, func, insert, literal_column, or_, select, update
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.types import BigInteger, Boolean, LargeBinary, String

from locum.stores.sql.words import OPEN, QUARANTINE, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Delete, FromClause, Insert, Select, Update

    from locum.stores.sql.tables import Tables

__all__ = ["Steps"]


class _Names(GenericFunction[bool]):
    """Whether a value of bytes holds an id somewhere."""

    type = Boolean()
    inherit_cache = True


class _Among(GenericFunction[bool]):
    """Whether an id is one of those in a text, with a space between them."""

    type = Boolean()
    inherit_cache = True


def _said(construct: type[GenericFunction[bool]], words: str, *dialects: str) -> None:
    """How these dialects, or all others, say a construct with two parts."""

    @compiles(construct, *dialects)
    def say(element: Any, compiler: Any, **options: Any) -> str:
        return words.format(*(compiler.process(part, **options) for part in element.clauses))


_said(_Names, "INSTR({0}, {1}) > 0")
_said(_Names, "position(convert_to({1}, 'UTF8') in {0}) > 0", "postgresql")
_said(_Names, "CHARINDEX(CONVERT(VARBINARY(32), {1}), {0}) > 0", "mssql")
_said(_Names, "DBMS_LOB.INSTR({0}, UTL_RAW.CAST_TO_RAW({1})) > 0", "oracle")
_said(_Among, "INSTR({0}, {1}) > 0")
_said(_Among, "{1} = ANY (string_to_array({0}, ' '))", "postgresql")
_said(_Among, "CHARINDEX({1}, {0}) > 0", "mssql")


def _text(name: str) -> ColumnElement[str]:
    return bindparam(name, type_=String())


def _number(name: str) -> ColumnElement[int]:
    return bindparam(name, type_=BigInteger())


def _bytes(name: str) -> ColumnElement[bytes]:
    return bindparam(name, type_=LargeBinary())


def larger(one: ColumnElement[int], other: ColumnElement[int]) -> ColumnElement[int]:
    """The larger of two numbers; every dialect has its own word for that."""
    return case((one > other, one), else_=other)


class Steps:
    """The steps, of one schema.

    Args:
        tables: Its tables.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.store, self.namespaces, self.days = tables.store, tables.namespaces, tables.days
        self.sessions, self.records = tables.sessions, tables.records

    # -- what is there

    def look(self) -> Select[Any]:
        """The store's row."""
        store = self.store.c
        return select(store.incarnation, store.revision, store.state, store.schema, store.least_reader, store.max_ttl)

    def read(self) -> Select[Any]:
        """The store's row, and the record of a key if there is one."""
        store, records = self.store.c, self.records
        there = and_(self._of(records), records.c.key == _text("key"), self._alive(store.incarnation))
        return select(store.incarnation, store.revision, *self._record()).select_from(
            self.store.outerjoin(records, there)
        )

    def listing(self) -> Select[Any]:
        """The store's row with each of the records under a prefix, in order of creation; once without, if none is."""
        store, records = self.store.c, self.records
        joined = self.store.outerjoin(records, self._listed(store.incarnation))
        return select(store.incarnation, store.revision, *self._record()).select_from(joined).order_by("created")

    def listing_after(self) -> Select[Any]:
        """The same of those written after a revision, or named, with the number of all under the prefix."""
        # looked up once, for the number too; in the one incarnation that a caller compares with
        listed = select(*self._record()).where(self._listed(_text("incarnation"))).cte("listed")
        wanted = or_(listed.c.at > _number("after"), _Among(_text("named"), listed.c.key))
        number = select(func.count()).select_from(listed).scalar_subquery().label("number")
        found = select(self.store.c.incarnation, self.store.c.revision, number, *listed.c)
        return found.select_from(self.store.outerjoin(listed, wanted)).order_by(listed.c.created)

    def statuses(self, *, named: bool) -> Select[Any]:
        """The store's row with each session of some ids, or with each open one; once without, if none is."""
        store, sessions, namespaces = self.store.c, self.sessions, self.namespaces
        is_open = and_(sessions.c.closed == 0, sessions.c.incarnation == store.incarnation)
        wanted = _Among(_text("ids"), sessions.c.id) if named else is_open
        joined = self.store.outerjoin(namespaces, self._of(namespaces)).outerjoin(
            sessions, and_(self._of(sessions), wanted)
        )
        return select(
            store.incarnation,
            store.revision,
            store.state,
            larger(store.max_ttl, func.coalesce(namespaces.c.max_ttl, 0)).label("max_ttl"),
            sessions.c.id,
            sessions.c.owner,
            sessions.c.ttl,
            sessions.c.beat,
            case((is_open, 0), else_=1).label("closed"),
            sessions.c.closed.label("buried"),
            sessions.c.reason,
        ).select_from(joined)

    # -- the incarnation

    def first_row(self) -> Select[Any]:
        """What the store's row is to be where there is none yet, in the order of its columns."""
        given = {"incarnation": _text("new"), "revision": _number("revision"), "state": _text("state")}
        fixed = {"one": 1, "schema": SCHEMA, "least_reader": SCHEMA, "max_ttl": 0}
        values: dict[str, Any] = {**{name: literal_column(str(value)) for name, value in fixed.items()}, **given}
        return select(*(values[column.name] for column in self.store.c))

    def begin(self) -> Update:
        """A new incarnation in quarantine, in the place of the one that was found, at a higher revision."""
        store, namespaces = self.store.c, self.namespaces.c
        longest = func.coalesce(select(func.max(namespaces.max_ttl)).scalar_subquery(), 0)
        return (
            update(self.store)
            .where(store.incarnation == _text("found"), store.revision < _number("above"))
            .values(
                incarnation=_text("new"),
                revision=_number("above") + 1,
                state=literal_column(f"'{QUARANTINE}'"),
                max_ttl=larger(larger(store.max_ttl, _number("max_ttl")), longest),
            )
        )

    def bury_all(self, begun: FromClause) -> Update:
        """Close the sessions of all namespaces, in a new incarnation."""
        sessions = self.sessions.c
        return (
            update(self.sessions)
            .where(sessions.closed == 0, self._under(begun))
            .values(closed=1, reason=_bytes("reason"), generation=self._generation(sessions.namespace))
        )

    def unbind_all(self, begun: FromClause) -> Delete:
        """Delete what was bound to them."""
        return delete(self.records).where(self.records.c.session.is_not(None), self._under(begun))

    def follow(self) -> Update:
        """Take what somebody else has begun, with the longest TTL that the caller knows of."""
        store = self.store.c
        return (
            update(self.store)
            .where(store.incarnation == _text("found"))
            .values(max_ttl=larger(store.max_ttl, _number("max_ttl")))
        )

    def lift(self) -> Update:
        """Open an incarnation for grants."""
        which = self.store.c.incarnation == _text("which")
        return self.count(which, self.store.c.state == QUARANTINE).values(state=literal_column(f"'{OPEN}'"))

    # -- sessions

    def open_session(self, counted: FromClause) -> Insert:
        """A new session, whose id was never seen."""
        columns = self.sessions.c
        given: tuple[Any, ...] = (
            _text("namespace"),
            _text("id"),
            _text("incarnation"),
            _bytes("owner"),
            _number("ttl"),
            literal_column("0"),
            literal_column("0"),
            _bytes("nothing"),
            literal_column("0"),
        )
        return insert(self.sessions).from_select([one.name for one in columns], select(*given).select_from(counted))

    def is_unknown(self) -> ColumnElement[bool]:
        """Nobody has ever seen this session's id."""
        return ~exists(select(self.sessions.c.id).where(self._session("id")))

    def raise_max_ttl(self, counted: FromClause) -> Update:
        """The longest TTL of the namespace is at least this one."""
        longest = self.namespaces.c.max_ttl
        return (
            update(self.namespaces)
            .where(self._of(self.namespaces), self._under(counted))
            .values(max_ttl=larger(longest, _number("ttl")))
        )

    def first_max_ttl(self, counted: FromClause) -> Insert:
        """A namespace that was not there is, with its longest TTL."""
        is_new = ~exists(select(self.namespaces.c.namespace).where(self._of(self.namespaces)))
        given: Any = select(_text("namespace"), _number("ttl"), literal_column("0")).select_from(counted).where(is_new)
        return insert(self.namespaces).from_select(["namespace", "max_ttl", "generation"], given)

    def beat(self) -> Update:
        """A beat that is newer than the last (R3); it counts nothing, and wakes nobody."""
        return (
            update(self.sessions)
            .where(
                self._session("id"),
                self._is_open(),
                self.sessions.c.beat < _number("number"),
                exists(select(self.store.c.one).where(*self._here())),
            )
            .values(beat=_number("number"))
        )

    def is_closable(self, *, beat: bool) -> ColumnElement[bool]:
        """The session is open, and its last beat is this one if one is named."""
        return exists(select(self.sessions.c.id).where(*self._closable(beat=beat)))

    def close(self, counted: FromClause, *, beat: bool) -> Update:
        """A tombstone in the place of an open session."""
        return (
            update(self.sessions)
            .where(*self._closable(beat=beat), self._under(counted))
            .values(closed=1, reason=_bytes("reason"), generation=self._generation(_text("namespace")))
        )

    def unbind(self, closed: FromClause) -> Delete:
        """Delete what was bound to it."""
        return delete(self.records).where(
            self._of(self.records), self.records.c.session == _text("id"), self._under(closed)
        )

    # -- tombstones: who may forget them (R1)

    def watch_generation(self) -> Insert:
        """This clock begins to watch the generation that is being dug."""
        mine = and_(self._of(self.days), self.days.c.clock == _text("clock"))
        given = select(_text("namespace"), _text("clock"), _number("now"))
        return insert(self.days).from_select(
            ["namespace", "clock", "since"], given.where(~exists(select(self.days.c.clock).where(mine)))
        )

    def next_generation(self) -> Update:
        """A new generation, if this clock has watched the last one for long enough."""
        days = self.days.c
        watched = exists(
            select(days.clock).where(
                self._of(self.days), days.clock == _text("clock"), days.since < _number("now") - _number("age")
            )
        )
        return (
            update(self.namespaces)
            .where(self._of(self.namespaces), watched)
            .values(generation=self.namespaces.c.generation + 1)
        )

    def forget_days(self, turned: FromClause) -> Delete:
        """Nobody has watched the new generation yet."""
        return delete(self.days).where(self._of(self.days), self._under(turned))

    def forget_gone(self) -> Delete:
        """Delete what is bound to sessions that are closed, and was missed when they were."""
        bound = self.records.c.session.is_not(None)
        return delete(self.records).where(self._of(self.records), bound, ~self._alive(_text("incarnation")))

    def forget(self) -> Delete:
        """Forget tombstones that were there before the last generation began, and that no record names."""
        sessions, records = self.sessions.c, self.records.c
        named = exists(
            select(records.key).where(
                records.namespace == sessions.namespace,
                or_(records.session == sessions.id, _Names(records.value, sessions.id)),
            )
        )
        old = sessions.generation < self._generation(_text("namespace")) - 1
        return delete(self.sessions).where(self._of(self.sessions), sessions.closed == 1, old, ~named)

    # -- records

    def guards(self, counted: FromClause, *, open_ids: Sequence[str], gone: bool) -> list[ColumnElement[bool]]:
        """These sessions are open, and that one is closed."""
        found: list[ColumnElement[bool]] = []
        for name in open_ids:
            held = select(self.sessions.c.id).where(self._session(name), self._is_open(), self._under(counted))
            found.append(held.with_for_update(read=True).scalar_subquery().is_not(None))
        if gone:
            found.append(exists(select(self.sessions.c.id).where(self._session("if_gone"), ~self._is_open())))
        return found

    def is_at(self) -> ColumnElement[bool]:
        """The record is there, at this revision."""
        return exists(select(self.records.c.key).where(*self._at()))

    def is_absent(self) -> ColumnElement[bool]:
        """There is no such record."""
        return ~exists(select(self.records.c.key).where(self._one(), self._alive(_text("incarnation"))))

    def is_empty(self) -> ColumnElement[bool]:
        """No record is under a prefix."""
        there = and_(self._of(self.records), self._under_prefix(), self._alive(_text("incarnation")))
        return ~exists(select(self.records.c.key).where(there))

    def is_there(self) -> ColumnElement[bool]:
        """There is such a record."""
        return ~self.is_absent()

    def put_at(self, counted: FromClause, guards: Sequence[ColumnElement[bool]]) -> Update:
        """A new value in the place of the one at this revision."""
        return self._put(counted, self.records.c.created).where(*self._at(), self._under(counted), *guards)

    def put_over(self, counted: FromClause, guards: Sequence[ColumnElement[bool]]) -> Update:
        """A new value in the place of whatever is there."""
        alive = self._alive(_text("incarnation"))
        created = case((alive, self.records.c.created), else_=self._counted(counted))
        return self._put(counted, created).where(self._one(), self._under(counted), *guards)

    def put_over_gone(self, counted: FromClause, guards: Sequence[ColumnElement[bool]]) -> Update:
        """A record in the place of one that has died with its session."""
        gone = ~self._alive(_text("incarnation"))
        return self._put(counted, self._counted(counted)).where(self._one(), gone, self._under(counted), *guards)

    def put_new(self, counted: FromClause, guards: Sequence[ColumnElement[bool]]) -> Insert:
        """A record where none was."""
        absent = ~exists(select(self.records.c.key).where(self._one()))
        given = select(
            _text("namespace"), _text("key"), _bytes("value"), counted.c.revision, counted.c.revision, _text("session")
        )
        return insert(self.records).from_select(
            ["namespace", "key", "value", "revision", "created", "session"],
            given.select_from(counted).where(absent, *guards),
        )

    def drop(self, put: FromClause) -> Delete:
        """Another record goes with what was put; none where no key is named."""
        dropped = self.records.c.key == _text("drop")
        return delete(self.records).where(self._of(self.records), dropped, self._under(put))

    def delete(self, counted: FromClause, *, at: bool) -> Delete:
        """No record any more, at this revision or at any."""
        which = self._at() if at else [self._one()]
        return delete(self.records).where(*which, self._under(counted))

    # -- inside

    def count(self, *conditions: ColumnElement[bool]) -> Update:
        """Count a change of the store that was seen, if the conditions hold."""
        return update(self.store).where(*self._here(), *conditions).values(revision=self.store.c.revision + 1)

    def _here(self) -> list[ColumnElement[bool]]:
        """The store is the one that was seen (R24)."""
        return [self.store.c.incarnation == _text("incarnation"), self.store.c.revision >= _number("seen")]

    def _of(self, table: Any) -> ColumnElement[bool]:
        found: ColumnElement[bool] = table.c.namespace == _text("namespace")
        return found

    def _session(self, name: str) -> ColumnElement[bool]:
        return and_(self._of(self.sessions), self.sessions.c.id == _text(name))

    def _is_open(self) -> ColumnElement[bool]:
        return and_(self.sessions.c.closed == 0, self.sessions.c.incarnation == _text("incarnation"))

    def _closable(self, *, beat: bool) -> list[ColumnElement[bool]]:
        last = [self.sessions.c.beat == _number("beat")] if beat else []
        return [self._session("id"), self._is_open(), *last]

    def _generation(self, namespace: ColumnElement[str]) -> ColumnElement[int]:
        current = self.namespaces.alias("current")
        found = select(current.c.generation).where(current.c.namespace == namespace).scalar_subquery()
        return func.coalesce(found, 0)

    def _record(self) -> list[ColumnElement[Any]]:
        records = self.records.c
        return [records.key, records.value, records.revision.label("at"), records.created, records.session]

    def _listed(self, incarnation: ColumnElement[str]) -> ColumnElement[bool]:
        return and_(self._of(self.records), self._under_prefix(), self._alive(incarnation))

    def _under_prefix(self) -> ColumnElement[bool]:
        return and_(self.records.c.key >= _text("first"), self.records.c.key < _text("last"))

    def _one(self) -> ColumnElement[bool]:
        return and_(self._of(self.records), self.records.c.key == _text("key"))

    def _at(self) -> list[ColumnElement[bool]]:
        at = self.records.c.revision == _number("expected")
        return [self._one(), at, self._alive(_text("incarnation"))]

    def _alive(self, incarnation: ColumnElement[str]) -> ColumnElement[bool]:
        """The record is bound to no session, or to an open one."""
        mine, records = self.sessions.alias("mine"), self.records.c
        is_open = exists(
            select(mine.c.id).where(
                mine.c.namespace == records.namespace,
                mine.c.id == records.session,
                mine.c.closed == 0,
                mine.c.incarnation == incarnation,
            )
        ).correlate(self.records, self.store)
        return or_(records.session.is_(None), is_open)

    def _put(self, counted: FromClause, created: ColumnElement[int]) -> Update:
        revision = self._counted(counted)
        return update(self.records).values(
            value=_bytes("value"), revision=revision, created=created, session=_text("session")
        )

    @staticmethod
    def _counted(counted: FromClause) -> ColumnElement[int]:
        return select(counted.c.revision).scalar_subquery()

    @staticmethod
    def _under(step: FromClause) -> ColumnElement[bool]:
        """An earlier step has done something."""
        return exists(select(next(iter(step.c))).select_from(step))
