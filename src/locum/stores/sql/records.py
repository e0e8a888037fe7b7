"""The records: compare and set, each as one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from locum.errors import ConfigurationError, ConflictError
from locum.names import check_key
from locum.store import ABSENT, ANY, Listing, Record, check_value, not_empty
from locum.stores.sql.sessions import closed
from locum.stores.sql.words import LONGEST_KEY

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from locum.store import Expect
    from locum.stores.sql.asking import Asking
    from locum.stores.sql.sessions import SessionTable

__all__ = ["RecordTable"]

_PAST_ASCII: Final = "\x7f"


class RecordTable:
    """The records of one namespace.

    Args:
        asking: How the server is asked.
        sessions: The sessions that they are bound to.
    """

    def __init__(self, asking: Asking, sessions: SessionTable) -> None:
        self._asking, self._sessions = asking, sessions

    async def read(self, key: str) -> Record | None:
        """The latest record of a key."""
        return await self._read(key, self._asking.deadline(), call="read")

    async def write(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expect,
        session: str | None,
        if_open: str | None,
        if_gone: str | None,
        if_empty: str | None,
        drop: str | None,
    ) -> Record:
        """Compare and set."""
        _check(key)
        check_value(key, value)
        deadline = self._asking.deadline()
        guards = {"session": session, "if_open": if_open}
        statement = self._asking.say.write(
            "any" if expect is ANY else "absent" if expect is ABSENT else "at",
            [name for name, wanted in guards.items() if wanted is not None],
            gone=if_gone is not None,
            empty=if_empty is not None,
        )
        while True:
            row = await self._asking.change(
                "write",
                statement,
                deadline=deadline,
                key=key,
                value=value,
                expected=expect if isinstance(expect, int) else 0,
                session=session,
                if_open=if_open,
                if_gone=if_gone,
                first=if_empty or "",
                last=_past(if_empty or ""),
                drop=drop or "",
                keys=key if drop is None else f"{key} {drop}",
            )
            if row is not None:
                return Record(key, value, row["revision"], row["created"], session)
            await self._demand(key, expect, [session, if_open], if_gone, if_empty, deadline)

    async def delete(self, key: str, *, expect: Expect) -> None:
        """Compare and delete."""
        _check(key)
        deadline = self._asking.deadline()
        say, at = self._asking.say, expect if isinstance(expect, int) else None
        statement = say.delete if at is None else say.delete_at
        while True:
            if expect is not ABSENT and await self._asking.change(
                "delete", statement, deadline=deadline, key=key, expected=at
            ):
                return
            current = await self._read(key, deadline, call="delete")
            if current is None:
                return
            if expect is ABSENT:
                raise ConflictError(key, current, "it exists already")
            if at is not None and current.revision != at:
                raise ConflictError(key, current)

    async def under(self, prefix: str, after: int | None, named: Collection[str]) -> Listing:
        """The records under a prefix in order of creation; all, or those after a revision and those that are named."""
        deadline = self._asking.deadline()
        if after is None:
            return await self._under(prefix, deadline, call="list")
        rows, found = await self._asking.look(
            "list",
            self._asking.say.list_after,
            deadline=deadline,
            first=prefix,
            last=_past(prefix),
            after=after,
            named=" ".join(named),
        )
        records = [one for row in rows if (one := _record(row)) is not None]
        return Listing(records, found.revision, found.incarnation, rows[0]["number"])

    # -- inside

    async def _read(self, key: str, deadline: int, *, call: str) -> Record | None:
        rows, _ = await self._asking.look(call, self._asking.say.read, deadline=deadline, key=key)
        return _record(rows[0])

    async def _under(self, prefix: str, deadline: int, *, call: str) -> Listing:
        rows, found = await self._asking.look(
            call, self._asking.say.list, deadline=deadline, first=prefix, last=_past(prefix)
        )
        records = [one for row in rows if (one := _record(row)) is not None]
        return Listing(records, found.revision, found.incarnation, len(records))

    async def _demand(
        self,
        key: str,
        expect: Expect,
        open_ids: Sequence[str | None],
        gone: str | None,
        empty: str | None,
        deadline: int,
    ) -> None:
        """Say why a write was refused; return if it would not be any more.

        Raises:
            ConflictError: The record is not as expected, a session is not closed, or a prefix is not empty.
            SessionClosedError: A session is not open.
        """
        current = await self._read(key, deadline, call="write")
        if expect is ABSENT and current is not None:
            raise ConflictError(key, current, "it exists already")
        if isinstance(expect, int) and (current is None or current.revision != expect):
            raise ConflictError(key, current)
        named = [one for one in (*open_ids, gone) if one is not None]
        found = (await self._sessions.statuses(named, lease=False, deadline=deadline)).by_id if named else {}
        for one in open_ids:
            if one is not None and not found[one].is_open:
                raise closed(found[one])
        if gone is not None and not found[gone].is_closed:
            raise ConflictError(key, current, f"the session {gone} is not closed")
        if empty is not None and (await self._under(empty, deadline, call="write")).records:
            raise not_empty(key, current, empty)


def _past(prefix: str) -> str:
    return prefix + _PAST_ASCII


def _check(key: str) -> None:
    check_key(key)
    if len(key) > LONGEST_KEY:
        raise ConfigurationError(f"the key {key[:60]}… has {len(key)} characters; this store takes {LONGEST_KEY}")


def _record(row: Mapping[str, Any]) -> Record | None:
    if row["key"] is None:
        return None
    return Record(row["key"], row["value"], row["at"], row["created"], row["session"])
