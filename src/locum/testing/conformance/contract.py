"""What all contracts share: the stores that a test asks for, and which promise a test holds."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

import pytest
import pytest_asyncio

from locum.testing.conformance.harness import Ability

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from locum.store import Guarantees, Store
    from locum.testing.conformance.harness import StoreHarness

__all__ = ["Connect", "Contract", "promises", "promises_of"]

F = TypeVar("F")
_MARK = "locum_promises"


class Connect(Protocol):
    """Opens one more connection to the test's data source; it is closed with the test."""

    async def __call__(self, *, namespace: str = "billing") -> Store:
        """A store that is open."""


def promises(*guarantees: str) -> Callable[[F], F]:
    """Say of a test that it holds these fields of `Guarantees`."""

    def mark(test: F) -> F:
        setattr(test, _MARK, guarantees)
        return test

    return mark


def promises_of(test: object) -> tuple[str, ...]:
    """The fields of `Guarantees` that a test holds."""
    return getattr(test, _MARK, ())


@pytest.mark.asyncio
class Contract:
    """The root of the contracts.

    Attributes:
        harness: The driver's.
        needs: The abilities of the harness without which it cannot be tested.
    """

    harness: ClassVar[type[StoreHarness]]
    needs: ClassVar[tuple[Ability, ...]] = ()

    @classmethod
    def binds(cls, guarantees: Guarantees) -> bool:
        """Whether a store that guarantees this has to keep it."""
        del guarantees
        return True

    @pytest_asyncio.fixture
    async def place(self, tmp_path: Path) -> AsyncIterator[StoreHarness]:
        """The data source."""
        folder = tmp_path / "place"
        folder.mkdir()
        harness = self.harness(folder)
        await harness.start()
        try:
            yield harness
        finally:
            await harness.stop()

    @pytest_asyncio.fixture
    async def connect(self, place: StoreHarness) -> AsyncIterator[Connect]:
        """Opens connections."""
        async with AsyncExitStack() as stack:

            async def connect(*, namespace: str = "billing") -> Store:
                store = place.make(namespace)
                store.call_timeout = 10.0
                stack.push_async_callback(store.close)
                await store.open()
                return store

            yield connect

    @pytest_asyncio.fixture
    async def store(self, connect: Connect) -> Store:
        """One connection."""
        return await connect()
