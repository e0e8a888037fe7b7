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
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote, urlsplit

from locum.clock import nanoseconds, seconds
from locum.errors import OutcomeUnknownError, StoreUnavailableError
from locum.registry import make_store as make_inner_store
from locum.testing.interception import Call, InterceptedStore

if TYPE_CHECKING:
    from locum.clock import Clock
    from locum.store import Store

__all__ = ["Gate", "GatedStore", "install", "make_store"]

_SCHEME: Final = "gated"
_ASKS: Final = frozenset({"open", "sessions", "read", "list", "health"})  # without an answer they did not happen
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


class GatedStore(InterceptedStore):
    """A store behind a gate.

    Args:
        store: The store.
        gate: The gate.
        clock: Measures the deadlines of calls that are lost.
    """

    def __init__(self, store: Store, gate: Gate, clock: Clock) -> None:
        super().__init__(store)
        self._gate, self._clock = gate, clock

    async def open(self, *, make: bool = True) -> None:
        """Connect."""
        await self.intercept(Call("open", "", lambda: self.inner.open(make=make)))

    async def intercept(self, call: Call) -> Any:
        """Make a call whose way there and back is open."""
        deadline = self._clock.now() + nanoseconds(self.call_timeout)
        if not self._gate.is_shut:
            answer = await call.make()
            if not self._gate.is_shut:
                return answer
        await self._clock.sleep(seconds(deadline - self._clock.now()))
        if call.name in _ASKS:
            raise StoreUnavailableError(self.url, "no answer came in time")
        raise OutcomeUnknownError(self.url, call.name)
