"""Locum on each store as a subject: what the store needs itself, and how soon another instance works."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.harness import Case, Sample, Unavailable
from benchmarks.stores.limits import measured
from benchmarks.takeover import KILLED, RELEASED
from benchmarks.takeover.ours import LocumSubject
from tests.faults.kit.places import SERVERS, STORES, SqliteFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from tests.faults.kit.places import Place
    from tests.servers.server import Server

__all__ = ["StoreSubject", "everyone"]

_WRITES: Final = 20


class StoreSubject(LocumSubject):
    """Three instances on one kind of store, with a server of their own where it is one.

    Args:
        kind: Of `STORES`.
        ttl: Seconds.
        folder: Where the folders of the server and of the visits are made.
    """

    def __init__(self, kind: str, *, ttl: float, folder: Path) -> None:
        super().__init__(ttl=ttl, folder=folder)
        self.name = f"Locum on {kind}"
        self.injuries = {Case(self.name, KILLED): "worker-killed", Case(self.name, RELEASED): "resigned"}
        self._kind = kind
        self._server: Server | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._folder)))
            self._home = folder
            if self._kind in SERVERS:
                if not SERVERS[self._kind].is_installed():
                    raise Unavailable("its server is not installed; `make servers` does that, as root")
                self._server = stack.enter_context(SERVERS[self._kind].make(folder))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def place(self) -> Place:
        """A database of its own, or a file."""
        if self._server is not None:
            return SERVERS[self._kind](self._server)
        return SqliteFile(Path(tempfile.mkdtemp(dir=self._home)) / "store.db")

    def visit(self, cases: Sequence[Case], seed: int) -> Iterator[Sample]:
        """What the store needs, and then one takeover of each kind."""
        for kind, values in measured(self.place().url, _WRITES).items():
            yield from (Sample(Case(self.name, kind), {"ms": value}) for value in values)
        yield from super().visit(cases, seed)


def everyone(*, ttl: float, folder: Path) -> list[StoreSubject]:
    """One for each kind of store."""
    return [StoreSubject(kind, ttl=ttl, folder=folder) for kind in STORES]
