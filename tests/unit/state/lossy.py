"""A database whose answers are lost: the real one, and a network before it that is as bad as it is told to be."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from locum.clock import Clock
from locum.databases import opening
from locum.errors import OutcomeUnknownError, StoreUnavailableError
from locum.scopes import Scope
from locum.state import database as states

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from sqlalchemy import Connection, Dialect

    from locum.databases.database import Database
    from locum.databases.statement import Statement
    from locum.state.database import StateDatabase
    from locum.state.ledger import Ledger

__all__ = ["Lossy", "lossy"]

T = TypeVar("T")


class Lossy:
    """A database behind a bad network.

    Attributes:
        is_away: Nothing gets through.
        gate: What changes something waits for it.
        next: What becomes of the next statements that change something: `lost` (it is done, and its answer does not
            come), `stuck` (neither), `late` (it is done when `deliver` is called).
    """

    def __init__(self, database: Database[Ledger]) -> None:
        self._database, self.ledger = database, database.ledger
        self.is_away = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.next: list[str] = []
        self._late: list[tuple[Statement, Mapping[str, Any]]] = []

    async def deliver(self) -> list[Any]:
        """What was late arrives; the answers, which nobody hears."""
        late, self._late = self._late, []
        return [await self._database.tell(*one) for one in late]

    @property
    def dialect(self) -> Dialect:
        return self._database.dialect

    async def tell(self, statement: Statement, values: Mapping[str, Any]) -> bool:
        self._check()
        await self.gate.wait()
        if not self.next:
            return await self._database.tell(statement, values)
        fault = self.next.pop(0)
        if fault == "late":
            self._late.append((statement, values))
        elif fault == "lost":
            await self._database.tell(statement, values)
        raise OutcomeUnknownError("lossy", "a statement")

    async def transact(self, work: Callable[[Connection], T]) -> T:
        self._check()
        await self.gate.wait()
        return await self._database.transact(work)

    async def ask(self, question: Callable[[Connection], T]) -> T:
        self._check()
        return await self._database.ask(question)

    async def listen(self, wake: Callable[[], object]) -> None:
        await self._database.listen(wake)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    def _check(self) -> None:
        if self.is_away:
            raise StoreUnavailableError("lossy", "nothing gets through")


@asynccontextmanager
async def lossy(url: str) -> AsyncIterator[tuple[StateDatabase, Lossy]]:
    """The state's database of a URL, behind a bad network."""
    async with opening.opened(url, states._STATE, namespace="billing", timeout=30) as database, Scope("test") as scope:
        network = Lossy(database)
        shared = states.StateDatabase(network, Clock())
        scope.spawn(shared.listen(), name="listen")
        scope.spawn(shared.look(), name="look")
        yield shared, network
