"""Nodes: small values under paths, which last or live with a session, to be read, written by version and watched.

Promises: of several who write on one version, one succeeds; a version only grows, and does not come back when the node
is deleted and made again; a read shows the latest; a watch shows a state at once and whatever the last one is.
Assumes: who shares a node by more than its last state writes by version, and looks again where that is refused.
On loss: the session-bound nodes of an instance vanish with its session, as its places in line do; lasting ones stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar, cast

from locum.coordination.grant import MOST_VALUE
from locum.coordination.known import Known
from locum.coordination.watching import accepting, states
from locum.errors import (
    ConfigurationError,
    ConflictError,
    CorruptRecordError,
    OutcomeUnknownError,
    SessionClosedError,
    SessionLostError,
    StoreError,
)
from locum.names import check_key, join, random_id
from locum.store import ABSENT, ANY
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection

    from locum.store import Expect, Record, Store

__all__ = ["MOST_PATH", "NODES", "Node", "Nodes", "key_of", "prefix_of"]

S = TypeVar("S")
T = TypeVar("T")

_log = logger("coordination.nodes")

NODES: Final = "node/"
"""The prefix of all nodes."""

MOST_PATH: Final = 400
"""The longest path of a node, in characters."""

_MARK: Final = 16  # bytes before each value: which writing it was, so that one whose answer was lost knows its own
_SENDINGS: Final = 3


@dataclass(frozen=True, slots=True)
class Node:
    """One node as it stood at one moment.

    Attributes:
        path: Names joined by `/`.
        value: At most 32 KiB.
        version: The store's revision of the last write: it only grows, and never comes back.
        number: Its place in the order of creation, among all of the store; kept when it is written.
        session: The session with which it vanishes; `None` if it lasts.
    """

    path: str
    value: bytes
    version: int
    number: int
    session: str | None = None

    @property
    def lasts(self) -> bool:
        """Whether it stays when whoever made it is gone."""
        return self.session is None

    @classmethod
    def of(cls, record: Record) -> Node:
        """The node that a record holds.

        Raises:
            CorruptRecordError: It holds something else.
        """
        if len(record.value) < _MARK:
            raise CorruptRecordError(record.key, f"it is no node: it has only {len(record.value)} bytes")
        path = record.key.removeprefix(NODES)
        return cls(path, record.value[_MARK:], record.revision, record.created, record.session)


class Nodes:
    """The nodes of a namespace.

    A path is names joined by `/`, as `config/limits`; folders need not be made.

    Args:
        store: Where they are.
        accept: Called when the store is not the one that was seen before: accepts what is there now.
        session: Gives the session that session-bound nodes live with; without it none can be made here.
    """

    def __init__(
        self,
        store: Store,
        *,
        accept: Callable[[], Awaitable[object]],
        session: Callable[[], Awaitable[str]] | None = None,
    ) -> None:
        self._store, self._accept, self._session = store, accept, session

    async def create(
        self, path: str, value: bytes = b"", *, session_bound: bool = False, numbered: bool = False
    ) -> Node:
        """Make a node that is not there yet.

        Args:
            path: Where; with `numbered`, the folder.
            value: At most 32 KiB.
            session_bound: Whether it vanishes with the session of this instance, and does not last.
            numbered: Whether to make one more below `path`, under a name that nobody else has. In what order they were
                made their `number` says, and `list` shows.

        Raises:
            ConflictError: It is there already; carries it.
            SessionLostError: The session that it was to live with has ended; it is not there.
            OutcomeUnknownError: No answer told whether it was made.
        """
        path = join(path, random_id()) if numbered else path
        key = key_of(path)
        if not session_bound:
            return await self._write(key, value, expect=ABSENT, session=None)
        if self._session is None:
            raise ConfigurationError(
                f"{path} cannot be bound to a session: there is none here; make it by a coordinator"
            )
        try:
            return await self._write(key, value, expect=ABSENT, session=await self._session())
        except SessionClosedError as error:
            raise SessionLostError(f"the session ended before {path} was made; make it again under the next") from error

    async def get(self, path: str) -> Node | None:
        """The latest of a node; `None` if it is not there."""
        key = key_of(path)
        record = await self._accepting(lambda: self._store.read(key))
        return None if record is None else Node.of(record)

    async def set(self, path: str, value: bytes, *, version: int | None = None) -> Node:
        """Write a node; a session-bound one stays so.

        Args:
            path: Which.
            value: At most 32 KiB.
            version: The version that it must have; if none is given it is written whatever it has, and made as a
                lasting one if it is not there.

        Raises:
            ConflictError: It has another version, or is not there; carries what is there. Nothing was changed.
            OutcomeUnknownError: No answer told whether it was written.
        """
        key = key_of(path)
        while True:
            record = await self._accepting(lambda: self._store.read(key))
            if version is not None and (record is None or record.revision != version):
                raise _conflict(path, record, version)
            try:
                if record is None:
                    return await self._write(key, value, expect=ABSENT, session=None)
                return await self._write(key, value, expect=record.revision, session=record.session)
            except (ConflictError, SessionClosedError):
                continue  # somebody was quicker, or it vanished with its session: by version, the next look says so

    async def delete(self, path: str, *, version: int | None = None) -> None:
        """Delete a node; one that is not there is deleted already.

        Args:
            path: Which.
            version: The version that it must have; whatever it has if none is given.

        Raises:
            ConflictError: It has another version; carries what is there. Nothing was changed.
            OutcomeUnknownError: No answer told whether it was deleted.
        """
        key, unknown = key_of(path), None
        for _ in range(_SENDINGS):
            try:
                await self._accepting(lambda: self._store.delete(key, expect=ANY if version is None else version))
            except OutcomeUnknownError as error:
                unknown = error
            except ConflictError as error:
                if unknown is not None:
                    raise unknown from error  # an earlier sending may have deleted that version before this one came
                raise _conflict(path, _record(error), version) from None
            except StoreError:
                if unknown is not None:
                    raise unknown from None
                raise
            else:
                return
        assert unknown is not None  # noqa: S101 - every other way has returned or raised
        raise unknown

    async def list(self, folder: str = "") -> tuple[Node, ...]:
        """The nodes below a folder, at any depth, in the order of their creation; all without one."""
        return await self.list_as(folder, Known(Node.of))

    async def list_as(self, folder: str, known: Known[T], told: Collection[str] = ()) -> tuple[T, ...]:
        """The same, read as something else, by one who may have read it before and was told what has changed."""
        prefix = prefix_of(folder)
        return await known.look(
            lambda after, named: self._accepting(lambda: self._store.list(prefix, after=after, named=named)), told
        )

    def watch(self, path: str) -> AsyncIterator[Node | None]:
        """A node (`None` while it is not there): at once, and again after each change; the last state always comes.

        States between two looks are passed over. While the store does not answer nothing comes; then what is there.
        """
        return states(self._store, key_of(path), lambda _: self.get(path))

    def watch_list(self, folder: str = "") -> AsyncIterator[tuple[Node, ...]]:
        """The nodes below a folder, in the order of their creation, just as `watch` shows one."""
        known = Known(Node.of)
        return states(self._store, prefix_of(folder), lambda told: self.list_as(folder, known, told))

    async def _accepting(self, call: Callable[[], Awaitable[S]]) -> S:
        return await accepting(call, self._accept)

    async def _write(self, key: str, value: bytes, *, expect: Expect, session: str | None) -> Node:
        """Write until an answer or a conflict tells, a few times at most: on one revision, only one sending lands."""
        path = key.removeprefix(NODES)
        if len(value) > MOST_VALUE:
            raise ConfigurationError(
                f"the value of the node {path} has {len(value)} bytes, and has room for {MOST_VALUE}: keep it"
                " elsewhere, and say here where"
            )
        mark, unknown = bytes.fromhex(random_id()), None
        for _ in range(_SENDINGS):
            try:
                return Node.of(
                    await self._accepting(lambda: self._store.write(key, mark + value, expect=expect, session=session))
                )
            except OutcomeUnknownError as error:
                unknown = error
            except ConflictError as error:
                current = _record(error)
                if unknown is not None and current is not None and current.value.startswith(mark):
                    return Node.of(current)  # an earlier sending had landed
                if unknown is not None:
                    raise unknown from error  # it may have landed, and been changed since
                raise _conflict(path, current, None) from None
            except SessionClosedError:
                raise  # whatever landed has vanished with it
            except StoreError:
                if unknown is not None:
                    raise unknown from None
                raise
        assert unknown is not None  # noqa: S101 - every other way has returned or raised
        raise unknown


def key_of(path: str) -> str:
    """The key of a node's record.

    Raises:
        ConfigurationError: The path cannot be one.
    """
    if len(path) > MOST_PATH:
        raise ConfigurationError(
            f"the path {path[:40]}… has {len(path)} characters, and may have {MOST_PATH}: use shorter names"
        )
    return NODES + check_key(path)


def prefix_of(folder: str) -> str:
    """The prefix of the keys of all nodes below a folder; of all nodes without one."""
    return key_of(folder) + "/" if folder else NODES


def _record(error: ConflictError) -> Record | None:
    return cast("Record | None", error.current)  # a store's conflict carries its record


def _conflict(path: str, record: Record | None, version: int | None) -> ConflictError:
    current = None if record is None else Node.of(record)
    if current is None:
        found = "it is not there"
    elif version is None:
        found = f"it is there already, with version {current.version}"
    else:
        found = f"it has version {current.version}, not {version}"
    return ConflictError(path, current, found)
