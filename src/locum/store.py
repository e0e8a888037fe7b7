"""The store contract: the small, asynchronous interface that every backend has, without policy.

A store keeps *sessions* (the lives of instances) and *records* (keys with values and revisions). Everything that
decides who is active is built on one call, `write`: a compare-and-set on one key. Every call ends by its own absolute
deadline (`call_timeout` seconds from its start) with an answer or one of three errors:

- `StoreUnavailableError`: it did not happen, and may be tried again.
- `OutcomeUnknownError`: no answer in time; it may or may not have happened, or may yet happen.
- `ConflictError`, `SessionClosedError`: it was refused, and nothing changed.

Keys and ids are the caller's, so every call is safe to repeat after a lost answer.

A store has an *incarnation*, its identity, and a *revision*, which only grows: from one incarnation to the next, too.
Each connection remembers what it has `seen` of both, and each call compares that with what it finds (R24). A store that
was wiped, exchanged or put back is `StoreReplacedError`, until `adopt` accepts what is there now.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from locum.errors import ConfigurationError, ConflictError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

__all__ = [
    "ABSENT",
    "ANY",
    "INCARNATION",
    "MAX_VALUE",
    "Change",
    "Expect",
    "Expected",
    "Guarantees",
    "Health",
    "Listing",
    "Record",
    "Seen",
    "SessionInfo",
    "SessionState",
    "SessionStatus",
    "Sessions",
    "Store",
    "check_session",
    "check_value",
    "not_empty",
]

MAX_VALUE: Final = 64 * 1024
"""The largest value of a record, in bytes."""

_SESSION_ID: Final = re.compile("[0-9a-f]{32}")

INCARNATION: Final = "incarnation"
"""The key under which `changes` tells, in every namespace, that an incarnation has begun or was opened."""


class Expected(enum.Enum):
    """What a compare-and-set may expect besides a revision."""

    ABSENT = "absent"
    ANY = "any"


ABSENT: Final = Expected.ABSENT
ANY: Final = Expected.ANY

Expect = int | Expected
"""A revision, `ABSENT`, or `ANY`."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it stood at one moment.

    Attributes:
        key: Its key.
        value: Its value, at most `MAX_VALUE` bytes.
        revision: Changes with every write and never comes back, even if the key is deleted and made again (64 bits).
        created: Its place in the order of creation (64 bits).
        session: The session with which it dies; `None` if it is bound to none.
    """

    key: str
    value: bytes
    revision: int
    created: int
    session: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """Records under a prefix in order of creation, as they were at one moment.

    Attributes:
        records: All of them, or those that were asked for.
        revision: The store's revision at that moment.
        incarnation: The store's identity.
        count: How many stand under the prefix in all.
    """

    records: Sequence[Record]
    revision: int
    incarnation: str
    count: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What a process has seen of a store last (R24).

    Attributes:
        incarnation: The store's identity.
        revision: The highest revision.
    """

    incarnation: str
    revision: int


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session that was opened.

    Attributes:
        id: Its id.
        ttl: The TTL that the store granted, in nanoseconds.
        incarnation: The store's identity.
    """

    id: str
    ttl: int
    incarnation: str


class SessionState(enum.Enum):
    """What a store knows of a session."""

    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SessionStatus:
    """One session as the store knows it.

    Attributes:
        id: Its id.
        state: Open, closed (there is a tombstone), or unknown.
        owner: Who opened it: the bytes that were given to `open_session`; empty if unknown.
        ttl: The granted TTL in nanoseconds; 0 if unknown.
        beat: The number of its last beat; `None` where the store times the session itself.
        reason: Why it was closed, as `close_session` was told; empty otherwise.
    """

    id: str
    state: SessionState
    owner: bytes = b""
    ttl: int = 0
    beat: int | None = None
    reason: bytes = b""

    @property
    def is_open(self) -> bool:
        """Whether the session is open."""
        return self.state is SessionState.OPEN

    @property
    def is_closed(self) -> bool:
        """Whether a tombstone says that the session is closed (R11)."""
        return self.state is SessionState.CLOSED


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions by id, the revision and the incarnation at which they were so, and the longest TTL.

    Attributes:
        by_id: Every session asked for (or every open one), by id.
        revision: The store's revision.
        incarnation: The store's identity.
        max_ttl: The longest TTL that was granted in this namespace, or before this incarnation, in nanoseconds.
        quarantined: Whether the incarnation is in quarantine: nothing is to be granted yet (R25).
    """

    by_id: dict[str, SessionStatus]
    revision: int
    incarnation: str
    max_ttl: int
    quarantined: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A hint that something under the prefixes changed; the reader reads again.

    Attributes:
        keys: The keys that changed, as far as the store tells; empty if it does not.
    """

    keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantees:
    """What a store can promise; each promise has its tests.

    Attributes:
        one_process: All instances must live in one process: no other one sees anything of this store.
        one_machine: All instances must live on one machine.
        guarded_writes: `if_open`, `if_gone` and `if_empty` are checked in the same operation as the write.
        native_sessions: The store times the sessions itself.
        pushed_changes: Changes are pushed; otherwise they are polled for.
        durable: What was acknowledged survives a crash of the store.
        least_ttl: The shortest TTL that it grants, in seconds.
        poll_interval: The longest silence of `changes`, in seconds.
    """

    one_machine: bool
    guarded_writes: bool
    native_sessions: bool
    pushed_changes: bool
    durable: bool
    least_ttl: float
    poll_interval: float
    one_process: bool = False


@dataclass(frozen=True, slots=True)
class Health:
    """A store that answered.

    Attributes:
        version: What the server calls itself.
        round_trip: Seconds that one read took.
        schema: The version of the schema; 0 where there is none.
        flaws: What is known to be wrong with this version; empty if nothing is.
    """

    version: str
    round_trip: float
    schema: int
    flaws: str = ""


def check_value(key: str, value: bytes) -> bytes:
    """Return the value, or raise `ConfigurationError` if a record cannot hold it."""
    if len(value) > MAX_VALUE:
        raise ConfigurationError(f"the value of {key} has {len(value)} bytes; a record holds at most {MAX_VALUE}")
    return value


def check_session(session_id: str, owner: bytes) -> str:
    """Return the id, or raise `ConfigurationError` if it is none, or the owner is too large."""
    if not _SESSION_ID.fullmatch(session_id):
        raise ConfigurationError(f"{session_id!r} cannot be a session's id: use 32 hexadecimal digits, made at random")
    check_value(f"session/{session_id}", owner)
    return session_id


def not_empty(key: str, current: Record | None, prefix: str) -> ConflictError:
    """The error for a write that demands of a prefix that nothing is under it, where something is."""
    return ConflictError(key, current, f"something stands under {prefix}")


class Store(Protocol):
    """One connection to the data source that all instances of a namespace share.

    Every call but `open`, `adopt` and `renew` raises `StoreReplacedError`, and does nothing, where the store is not the
    one that was `seen`: from the first such finding on, until it is adopted.
    """

    @property
    def url(self) -> str:
        """The store's URL without secrets."""

    @property
    def namespace(self) -> str:
        """The namespace: whose sessions and records these are."""

    call_timeout: float
    """Seconds after which a call ends without an answer."""

    seen: Seen | None
    """What this process has seen of the store; kept up to date by every answer.

    May be set before `open`, to go on from what another process of the same instance has seen.
    """

    async def open(self, *, make: bool = True) -> None:
        """Connect, and make or check the schema.

        A store that is made where nothing was is open at once, unless `seen` says that one was there before: then it is
        made in quarantine (R25). `open` itself does not compare: if what is there, or what it has made, is not what was
        `seen`, the next call says so.

        Args:
            make: Whether a store is made where there is none; who only looks makes none.

        Raises:
            StoreUnavailableError: Not now; or there is none, and none is to be made.
            SchemaError: It was written by a newer release.
            ConfigurationError: It can never work so.
        """

    async def close(self) -> None:
        """Leave. Calls that still run end with `StoreUnavailableError` or `OutcomeUnknownError`."""

    async def adopt(self, *, max_ttl: int) -> Seen:
        """Accept the store as it stands now, whatever has become of it; to be called when no session of ours is left.

        If it is as it was seen, nothing changes. What a successor of the seen incarnation is was begun by somebody who
        met the same, and is taken as it is. Anything else (an older copy, a strange store, nothing at all) begins a new
        incarnation in quarantine, as `renew` does. Repeating it is harmless, and of several processes one decides.
        Every reader of `changes` is woken.

        Args:
            max_ttl: The longest TTL that this process knows of, in nanoseconds; the quarantine lasts at least so long.

        Returns:
            What is seen from now on.
        """

    async def renew(self, *, max_ttl: int) -> Seen:
        """Begin a new incarnation, whatever was there: for an operator, after a restore (R25).

        It is in quarantine; every session that was open is closed, and the revision is above all that was there and all
        that this process has seen.

        Args:
            max_ttl: The longest TTL that the caller knows of, in nanoseconds.

        Returns:
            What is seen from now on.
        """

    async def lift_quarantine(self, incarnation: str) -> bool:
        """Open an incarnation for grants, by compare-and-set: for one who has watched it for the longest TTL (R25).

        Returns:
            Whether it is this incarnation still, and open now.
        """

    async def open_session(self, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        """Open a session under a caller-made random id (R1, R2); repeating it is harmless.

        Args:
            owner: Who opens it; at most `MAX_VALUE` bytes.
            ttl: The wanted TTL in nanoseconds.
            session_id: 32 hexadecimal digits, small ones.

        Raises:
            SessionClosedError: A session of that id was closed; ids never come back.
            ConfigurationError: The id or the owner cannot be one.
        """

    async def beat(self, session_id: str, number: int) -> None:
        """Keep a session alive (R3). Wakes nobody.

        Raises:
            SessionClosedError: It is closed.
            ConflictError: `number` is not larger than the last one: somebody else beats for this session.
        """

    async def close_session(self, session_id: str, *, reason: bytes) -> None:
        """Close a session for good, by its owner or by a witness with proof (R7); bound records go with it.

        Repeating it is harmless: the first reason stays.
        """

    async def close_if_silent(self, session_id: str, *, beat: int, reason: bytes) -> bool:
        """Close a session if it is open and its last beat is still `beat`, as one operation (R7, R8).

        Returns:
            Whether it is closed now.
        """

    async def sessions(self, ids: Iterable[str] | None = None) -> Sessions:
        """The sessions of these ids, known or not; all open ones if no ids are given."""

    async def read(self, key: str) -> Record | None:
        """The latest record of a key, never a stale copy; `None` if there is none."""

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
        """Compare and set.

        Args:
            key: The key.
            value: At most `MAX_VALUE` bytes.
            expect: The revision that the record must have, `ABSENT` if there must be none, or `ANY`.
            session: The record dies with this session, which must be open.
            if_open: A session that must be open (R14).
            if_gone: A session that must be closed, with a tombstone (R11, R14).
            if_empty: A prefix under which no record may stand; it is for order, and never for safety: one that is made
                at the same moment may be missed.
            drop: Another key, whose record goes in the same operation, whatever stands there; nothing goes where the
                write is refused.

        Raises:
            ConflictError: It is not as expected; carries the current record.
            SessionClosedError: `session` or `if_open` is closed or unknown.
        """

    async def delete(self, key: str, *, expect: Expect) -> None:
        """Compare and delete; deleting what is not there is done already.

        Raises:
            ConflictError: It has another revision; carries the current record.
        """

    async def list(self, prefix: str, *, after: int | None = None, named: Collection[str] = ()) -> Listing:
        """The records whose keys begin with `prefix`, in order of creation.

        Args:
            prefix: What the keys begin with.
            after: Only those that were written after this revision, and those that are named. Whoever knows all that
                stood there at that revision knows all that stands there now, if the listing is of the same incarnation
                and so many are known then as it counts: what is missing from it was deleted.
            named: Keys under the prefix.
        """

    def changes(self, prefixes: Sequence[str]) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """Wake-ups for keys that begin with one of the prefixes.

        Sessions change as `session/ID`, the incarnation and its quarantine as `INCARNATION`.

        From entering the context on, at least one comes after every change, and at least one every `poll_interval`.
        A wake-up is a hint: the reader reads again. A cancelled wait for the next one loses none.
        """

    def guarantees(self) -> Guarantees:
        """What this store promises."""

    async def health(self) -> Health:
        """Reach it once."""
