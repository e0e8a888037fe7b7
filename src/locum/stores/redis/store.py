"""The store contract on one Redis server."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from locum.clock import NANOSECONDS, seconds
from locum.errors import ConfigurationError, MissingDriverError, SchemaError, StoreUnavailableError
from locum.identity import MachineKey
from locum.names import check_key, check_name, random_id
from locum.store import (
    Change,
    Expect,
    Expected,
    Guarantees,
    Health,
    Listing,
    Record,
    Seen,
    SessionInfo,
    Sessions,
    check_session,
    check_value,
)
from locum.stores.address import Address
from locum.stores.lines import Lines
from locum.stores.link import unusable
from locum.stores.redis import answers
from locum.stores.redis.scripting import Scripting
from locum.stores.sight import RENEWED, Sight, difference, is_successor, missing, revision_above
from locum.stores.wakeups import POLL_INTERVAL, Wakeups
from locum.threads import apart

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Sequence

    from locum.clock import Clock
    from locum.errors import LocumError
    from locum.stores.redis.connection import RedisConnection
    from locum.stores.redis.scripting import Answer

__all__ = ["RedisStore", "make_store"]

_SCHEMA: Final = 1
_LIBRARY: Final = "locum.stores.redis.connection"
_LEAST_TTL: Final = 0.5
_TOMBSTONE_AGE: Final = 24 * 3600  # seconds


def make_store(url: str, *, namespace: str, clock: Clock) -> RedisStore:
    """The store of a `redis://` or `rediss://` URL: a server, and after the slash the number of its database."""
    encrypted = url.startswith("rediss://")
    address = Address.parse(url, default_port=6379, options=["prefix"], encrypted=encrypted)
    if len(address.hosts) != 1:
        raise ConfigurationError(f"{address.url} names several servers: name the one that is written to")
    database = address.path.strip("/") or "0"
    if not database.isdecimal():
        raise ConfigurationError(f"{address.url} names no database: a Redis has numbers, as in {address.scheme}://h/0")
    if importlib.util.find_spec("redis") is None:
        raise MissingDriverError(address.scheme, "redis", "redis")
    prefix = check_name(address.options.get("prefix", "locum"), what="a prefix")
    return RedisStore(address, int(database), prefix=prefix, namespace=namespace, clock=clock)


class RedisStore:
    """The connections of one process to a Redis server.

    Args:
        address: Where it is, and as whom one connects.
        database: The number of its database.
        prefix: What all keys begin with, within the braces of their hash tag.
        namespace: Whose sessions and records these are.
        clock: Measures round trips, and the age of tombstones.
    """

    def __init__(self, address: Address, database: int, *, prefix: str, namespace: str, clock: Clock) -> None:
        self.url = address.url
        self.namespace = namespace
        self.call_timeout = 1.0
        self._address, self._database, self._clock = address, database, clock
        self._key = MachineKey.of_this_process()
        self._sight = Sight(self.url)
        self._scripting = Scripting(f"{{{prefix}}}", namespace, self._sight, lambda: self.call_timeout)
        self._lines: Lines[RedisConnection] = Lines(
            self.url, connect=self._connect, in_words=self._in_words, clock=clock
        )
        self._may_write = False

    @property
    def seen(self) -> Seen | None:
        """What this process has seen of the store."""
        return self._sight.seen

    @seen.setter
    def seen(self, seen: Seen | None) -> None:
        self._sight.adopt(seen)

    async def open(self, *, make: bool = True) -> None:
        """Connect; make the store if there is none."""
        if _LIBRARY not in sys.modules:  # it is large
            await apart("load redis-py", lambda: importlib.import_module(_LIBRARY))
        self._lines.was_there = self._lines.was_there or self.seen is not None
        self._lines.open()
        self._wakeups = Wakeups(self._lines.listening, self._subscribe, lambda: self.call_timeout)
        try:
            found = await self._make_if_missing(make=make)
        except BaseException:
            await self.close()
            raise
        self._scripting.take_up()
        self._lines.was_there = True
        if self.seen is None:
            self.seen = found

    async def close(self) -> None:
        """Leave; calls that still run end at once."""
        await self._lines.close()

    # -- the incarnation --------------------------------------------------------------------------------------------

    async def adopt(self, *, max_ttl: int) -> Seen:
        """Accept the store as it stands now."""
        before = self.seen
        while True:
            found, restarted = await self._look("adopt")
            if before is not None and found is not None and is_successor(found, before):
                taken = await self._as_it_is("follow", found.incarnation, str(max_ttl), call="adopt")
                if taken.how == b"changed":
                    continue
                return self._take_up(found)
            if found is not None and not restarted and difference(before, found) is None:
                return self._take_up(found)
            begun = await self._begin("adopt", found, before, max_ttl)
            if begun is not None:
                return begun

    async def renew(self, *, max_ttl: int) -> Seen:
        """Begin a new incarnation, whatever was there."""
        while True:
            found, _ = await self._look("renew")
            begun = await self._begin("renew", found, self.seen, max_ttl)
            if begun is not None:
                return begun

    async def lift_quarantine(self, incarnation: str) -> bool:
        """Open an incarnation for grants."""
        answer = await self._ask("lift", incarnation, changes=True, call="lift_quarantine")
        return bool(answer.rest[0] == b"1")

    # -- sessions ---------------------------------------------------------------------------------------------------

    async def open_session(self, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        """Open a session under a caller-made id."""
        check_session(session_id, owner)
        await self._demand_rights()
        granted = max(ttl, round(_LEAST_TTL * NANOSECONDS))
        clock = f"{self._key.boot}/{self._key.time_namespace}"
        now, age = str(self._clock.now() // NANOSECONDS), str(_TOMBSTONE_AGE)
        values = (self.namespace, session_id, owner, str(granted), clock, now, age)
        answer = await self._lease("open_session", *values)
        assert answer.found is not None  # noqa: S101 - it has been compared
        return SessionInfo(session_id, int(answer.rest[0]), answer.found.incarnation)

    async def beat(self, session_id: str, number: int) -> None:
        """Keep a session alive."""
        await self._lease("beat", session_id, str(number), key=f"session/{session_id}", number=number)

    async def close_session(self, session_id: str, *, reason: bytes) -> None:
        """Close a session for good."""
        await self._lease("close", session_id, "", reason, call="close_session")

    async def close_if_silent(self, session_id: str, *, beat: int, reason: bytes) -> bool:
        """Close a session if its last beat is still this one."""
        answer = await self._lease("close", session_id, str(beat), reason, call="close_if_silent")
        return bool(answer.rest[0] == b"1")

    async def sessions(self, ids: Iterable[str] | None = None) -> Sessions:
        """The sessions of these ids, or all open ones."""
        wanted = () if ids is None else tuple(ids)
        answer = await self._ask("sessions", self.namespace, "1" if ids is None else "0", *wanted, changes=False)
        longest, state, found = answer.rest
        assert answer.found is not None  # noqa: S101 - it has been compared
        return Sessions(
            answers.statuses(found),
            answer.found.revision,
            answer.found.incarnation,
            int(longest),
            state != b"open",
        )

    # -- records ----------------------------------------------------------------------------------------------------

    async def read(self, key: str) -> Record | None:
        """The latest record of a key."""
        answer = await self._ask("read", key, changes=False)
        return answers.record(key, answer.rest[0])

    async def write(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expect,
        session: str | None = None,
        if_open: str | None = None,
        if_gone: str | None = None,
        if_empty: str | None = None,
        drop: str | None = None,
    ) -> Record:
        """Compare and set, as one script."""
        check_key(key)
        check_value(key, value)
        guards = (session or "", if_open or "", if_gone or "", if_empty or "", drop or "")
        answer = await self._ask(
            "write", key, value, _expected(expect), *guards, changes=True, key=key, gone=if_gone, empty=if_empty
        )
        revision, created = map(int, answer.rest)
        return Record(key, value, revision, created, session)

    async def delete(self, key: str, *, expect: Expect) -> None:
        """Compare and delete."""
        await self._ask("delete", key, _expected(expect), changes=True, key=key)

    async def list(self, prefix: str, *, after: int | None = None, named: Collection[str] = ()) -> Listing:
        """The records under a prefix in order of creation."""
        answer = await self._ask("list", prefix, "" if after is None else str(after), *named, changes=False)
        assert answer.found is not None  # noqa: S101 - it has been compared
        return Listing(
            answers.records(answer.rest[0]), answer.found.revision, answer.found.incarnation, int(answer.rest[1])
        )

    @asynccontextmanager
    async def changes(self, prefixes: Sequence[str]) -> AsyncIterator[AsyncIterator[Change]]:
        """Wake-ups for keys that begin with one of the prefixes."""
        async with self._wakeups.subscribe(prefixes, self._lines.demand_open()) as wakeups:
            yield wakeups

    # -- what it is -------------------------------------------------------------------------------------------------

    def guarantees(self) -> Guarantees:
        """What the server promises, as it was set up when it was last connected to."""
        server = self._scripting.server
        return Guarantees(
            one_machine=False,
            guarded_writes=True,
            native_sessions=False,
            pushed_changes=True,
            durable=server is not None and server.weakness is None,
            least_ttl=_LEAST_TTL,
            poll_interval=POLL_INTERVAL,
        )

    async def health(self) -> Health:
        """Reach it once."""
        begun = self._clock.now()
        await self._ask("read", "health", changes=False, call="health")
        took = seconds(self._clock.now() - begun)
        server = self._scripting.server
        assert server is not None  # noqa: S101 - it has answered
        weakness = f" (fenced effects only: {server.weakness})" if server.weakness else ""
        return Health(f"{server.version}{weakness}", took, _SCHEMA, server.flaws)

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _subscribe(self, connection: RedisConnection) -> None:
        await connection.subscribe(*self._scripting.channels)

    async def _connect(self) -> RedisConnection:
        from locum.stores.redis.connection import RedisConnection

        return await RedisConnection.make(self._address, database=self._database)

    def _in_words(self, error: Exception) -> str | LocumError:
        from locum.stores.redis.faults import in_words

        return in_words(error, self.url)

    async def _lease(
        self, name: str, *values: str | bytes, call: str | None = None, key: str = "", number: int = 0
    ) -> Answer:
        self._lines.demand_open()
        answer = await self._scripting.ask(self._lines.leases, name, *values, changes=True, call=call or name)
        return self._judge(answer, key=key, number=number)

    async def _ask(
        self,
        name: str,
        *values: str | bytes,
        changes: bool,
        call: str | None = None,
        key: str = "",
        gone: str | None = None,
        empty: str | None = None,
    ) -> Answer:
        self._lines.demand_open()
        answer = await self._scripting.ask(self._lines.others, name, *values, changes=changes, call=call or name)
        return self._judge(answer, key=key, gone=gone, empty=empty)

    async def _as_it_is(self, name: str, *values: str | bytes, call: str) -> Answer:
        self._lines.demand_open()
        answer = await self._scripting.ask_as_it_is(
            self._lines.others, name, *values, changes=name != "look", call=call
        )
        return self._judge(answer)

    def _judge(
        self, answer: Answer, *, key: str = "", number: int = 0, gone: str | None = None, empty: str | None = None
    ) -> Answer:
        if answer.how == b"refused":
            raise self._refusal(answer)
        if answer.how in answers.NO:
            raise answers.refused(answer.how, answer.rest, key=key, number=number, gone=gone, empty=empty)
        return answer

    def _refusal(self, answer: Answer) -> LocumError:
        from locum.stores.redis.faults import is_about_rights, refusal

        said = answer.rest[0].decode("utf-8", "replace")
        error = refusal(said, self.url)
        if is_about_rights(said) and not self._may_write:
            return unusable(self.url, error.why)
        return error

    async def _demand_rights(self) -> None:
        """Refuse to begin with a user whose rights do not suffice: a script that is stopped halfway does half."""
        if not self._may_write:
            await self._as_it_is("probe", call="open_session")
            self._may_write = True

    async def _make_if_missing(self, *, make: bool) -> Seen:
        from locum.stores.redis.faults import is_about_rights

        try:
            found, _ = await self._look("open")
        except StoreUnavailableError as error:
            if self._lines.was_there or not is_about_rights(error.why):
                raise
            raise unusable(self.url, error.why) from None
        if found is not None:
            return found
        if not make:
            raise missing(self.url)
        seen = self.seen
        state, revision = ("open", 0) if seen is None else ("quarantine", revision_above(seen.revision))
        try:
            made = await self._as_it_is("make", random_id(), str(revision), state, str(_SCHEMA), call="open")
        except ConfigurationError as error:
            why = "there is no store yet, and this user may not make one: start an instance first"
            raise unusable(self.url, why) from error
        assert made.found is not None  # noqa: S101 - it is there now, whoever made it
        return made.found

    async def _look(self, call: str) -> tuple[Seen | None, bool]:
        """What is there, and whether its server may have lost something since it was believed.

        Raises:
            SchemaError: It was written by a newer release.
        """
        restarted = False

        async def work(connection: RedisConnection) -> Answer:
            nonlocal restarted
            restarted = self._scripting.restarted(connection) is not None
            return await self._scripting.run_on(connection, "look", None, ())

        self._lines.demand_open()
        answer = await self._lines.others.call(call, work, timeout=self.call_timeout, changes=False)
        least_reader = int(answer.rest[1] or 0)
        if least_reader > _SCHEMA:
            raise SchemaError(self.url, least_reader, _SCHEMA)
        return answer.found, restarted

    async def _begin(self, call: str, found: Seen | None, before: Seen | None, max_ttl: int) -> Seen | None:
        """Begin a new incarnation in the place of the one found; `None` if somebody else was first."""
        revision = revision_above(found.revision if found else 0, before.revision if before else 0)
        there = found.incarnation if found else ""
        values = (there, random_id(), str(revision), str(max_ttl), RENEWED, str(_SCHEMA))
        begun = await self._as_it_is("begin", *values, call=call)
        if begun.how == b"changed" or begun.found is None:
            return None
        return self._take_up(begun.found)

    def _take_up(self, found: Seen) -> Seen:
        self._scripting.take_up()
        self._sight.adopt(found)
        self._wakeups.tell_all()
        return found


def _expected(expect: Expect) -> str:
    return expect.value if isinstance(expect, Expected) else str(expect)
