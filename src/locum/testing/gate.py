"""A gate between one instance and its store: any driver, in whose way stands a file that a test makes and removes.

It is no part of an installed Locum: the scheme `gated` is known only to processes that find `install`'s folder on
their path, which are those of a test's cluster.

Promises: while the gate is shut no call of that instance reaches the store, and no answer reaches the instance; each
call ends by its own deadline, as in a network that drops what it is given. Nobody else notices.
Limits: a call that meets the shut gate is lost and does not arrive later, also if the gate opens before its deadline.
Wake-ups do pass: they carry nothing, and whoever follows one reads, and that is lost.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, unquote, urlsplit

from locum.clock import nanoseconds, seconds
from locum.errors import OutcomeUnknownError, StoreUnavailableError
from locum.registry import make_store as make_inner_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from locum.clock import Clock
    from locum.errors import StoreError
    from locum.store import Change, Expect, Guarantees, Health, Listing, Record, Seen, SessionInfo, Sessions, Store

__all__ = ["Gate", "GatedStore", "install", "make_store"]

T = TypeVar("T")

_SCHEME: Final = "gated"
_DISTRIBUTION: Final = "locum_testing_gate-1.dist-info"
_ENTRY_POINTS: Final = f"[locum.stores]\n{_SCHEME} = locum.testing.gate:make_store\n"


def install(folder: Path) -> None:
    """Make the scheme known to every process that has this folder on its path."""
    distribution = folder / _DISTRIBUTION
    distribution.mkdir(exist_ok=True)
    (distribution / "entry_points.txt").write_text(_ENTRY_POINTS)


def make_store(url: str, *, namespace: str, clock: Clock) -> GatedStore:
    """The store behind the gate that a URL names, not yet opened."""
    gate = Gate(Path(unquote(urlsplit(url).path)))
    return GatedStore(make_inner_store(gate.store, namespace=namespace, clock=clock), gate, clock)


class Gate:
    """A folder with two files: one tells which store is behind it, the other one is there while nothing passes.

    So the gate's own URL, which instances print, holds no password of the store's.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._store, self._shut = path, path / "store", path / "shut"

    @classmethod
    def before(cls, store: str, path: Path) -> Gate:
        """A gate before a store, in a folder that is made for it; it stands open."""
        path.mkdir(mode=0o700, exist_ok=True)
        gate = cls(path)
        gate._store.write_text(store)
        gate.open()
        return gate

    @property
    def url(self) -> str:
        """The URL of the store behind it."""
        return f"{_SCHEME}://{quote(str(self._path))}"

    @property
    def store(self) -> str:
        """The URL of the store itself."""
        return self._store.read_text()

    @property
    def is_shut(self) -> bool:
        """Whether nothing passes."""
        return self._shut.exists()

    def shut(self) -> None:
        """Let nothing pass any more."""
        self._shut.touch()

    def open(self) -> None:
        """Let everything pass."""
        self._shut.unlink(missing_ok=True)


class GatedStore:
    """A store behind a gate.

    Args:
        store: The store.
        gate: The gate.
        clock: Measures the deadlines of calls that are lost.
    """

    def __init__(self, store: Store, gate: Gate, clock: Clock) -> None:
        self._store, self._gate, self._clock = store, gate, clock

    @property
    def url(self) -> str:
        """The store's own."""
        return self._store.url

    @property
    def namespace(self) -> str:
        """The store's own."""
        return self._store.namespace

    @property
    def call_timeout(self) -> float:
        """The store's own."""
        return self._store.call_timeout

    @call_timeout.setter
    def call_timeout(self, timeout: float) -> None:
        self._store.call_timeout = timeout

    @property
    def seen(self) -> Seen | None:
        """The store's own."""
        return self._store.seen

    @seen.setter
    def seen(self, seen: Seen | None) -> None:
        self._store.seen = seen

    def guarantees(self) -> Guarantees:
        """The store's own."""
        return self._store.guarantees()

    async def close(self) -> None:
        """Leave, which needs nobody's answer."""
        await self._store.close()

    def changes(self, prefixes: Sequence[str]) -> AbstractAsyncContextManager[AsyncIterator[Change]]:
        """Wake-ups, which pass."""
        return self._store.changes(prefixes)

    # -- what only asks: without an answer it did not happen

    async def open(self) -> None:
        """Connect."""
        await self._ask(lambda: self._store.open())

    async def sessions(self, ids: Iterable[str] | None = None) -> Sessions:
        """Ask for sessions."""
        return await self._ask(lambda: self._store.sessions(ids))

    async def read(self, key: str) -> Record | None:
        """Read."""
        return await self._ask(lambda: self._store.read(key))

    async def list(self, prefix: str) -> Listing:
        """List."""
        return await self._ask(lambda: self._store.list(prefix))

    async def health(self) -> Health:
        """Reach it once."""
        return await self._ask(lambda: self._store.health())

    # -- what changes something: without an answer its outcome is unknown

    async def adopt(self, *, max_ttl: int) -> Seen:
        """Accept the store as it stands."""
        return await self._change("adopt", lambda: self._store.adopt(max_ttl=max_ttl))

    async def renew(self, *, max_ttl: int) -> Seen:
        """Begin a new incarnation."""
        return await self._change("renew", lambda: self._store.renew(max_ttl=max_ttl))

    async def lift_quarantine(self, incarnation: str) -> bool:
        """Open an incarnation."""
        return await self._change("lift_quarantine", lambda: self._store.lift_quarantine(incarnation))

    async def open_session(self, owner: bytes, ttl: int, session_id: str) -> SessionInfo:
        """Open a session."""
        return await self._change("open_session", lambda: self._store.open_session(owner, ttl, session_id))

    async def beat(self, session_id: str, number: int) -> None:
        """Beat."""
        await self._change("beat", lambda: self._store.beat(session_id, number))

    async def close_session(self, session_id: str, *, reason: bytes) -> None:
        """Close a session."""
        await self._change("close_session", lambda: self._store.close_session(session_id, reason=reason))

    async def close_if_silent(self, session_id: str, *, beat: int, reason: bytes) -> bool:
        """Close a silent session."""
        close = self._store.close_if_silent
        return await self._change("close_if_silent", lambda: close(session_id, beat=beat, reason=reason))

    async def write(
        self,
        key: str,
        value: bytes,
        *,
        expect: Expect,
        session: str | None = None,
        if_open: str | None = None,
        if_gone: str | None = None,
    ) -> Record:
        """Compare and set."""
        write = self._store.write
        return await self._change(
            "write", lambda: write(key, value, expect=expect, session=session, if_open=if_open, if_gone=if_gone)
        )

    async def delete(self, key: str, *, expect: Expect) -> None:
        """Compare and delete."""
        await self._change("delete", lambda: self._store.delete(key, expect=expect))

    # -- the gate

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        return await self._through(call, StoreUnavailableError(self.url, "no answer came in time"))

    async def _change(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        return await self._through(call, OutcomeUnknownError(self.url, name))

    async def _through(self, call: Callable[[], Awaitable[T]], lost: StoreError) -> T:
        deadline = self._clock.now() + nanoseconds(self.call_timeout)
        if not self._gate.is_shut:
            answer = await call()
            if not self._gate.is_shut:
                return answer
        await self._clock.sleep(seconds(deadline - self._clock.now()))
        raise lost
