"""Instances on a driver's store, for the contracts of the recipes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Protocol

import pytest_asyncio

from locum.clock import Clock
from locum.coordination.grant import Grant, grant_key
from locum.coordination.line import Entry, line_prefix
from locum.testing.conformance.contract import Contract
from locum.testing.conformance.kit import LONG
from locum.testing.faults import FaultyStore
from locum.testing.instances import InProcessLeases, Instance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.coordination.election import Election
    from locum.store import Store
    from locum.testing.conformance.contract import Connect

__all__ = ["SCOPE", "Join", "RecipeContract", "election_of", "grant_in", "in_line", "line_of"]

SCOPE = "election/settlement"


class Join(Protocol):
    """Adds an instance with a session of its own; it leaves with the test."""

    async def __call__(self, name: str) -> Instance:
        """An instance of that name."""


class RecipeContract(Contract):
    """The root of the contracts of recipes: what they promise on whatever store they run."""

    @pytest_asyncio.fixture
    async def join(self, connect: Connect) -> AsyncIterator[Join]:
        """Adds instances."""
        async with AsyncExitStack() as stack:

            async def join(name: str) -> Instance:
                store, clock = FaultyStore(await connect()), Clock()
                leases = InProcessLeases(store, name, clock, ttl=60.0)
                stack.callback(leases.close)
                await leases.begin()
                instance = Instance(store, leases)
                stack.push_async_callback(instance.commons.close, patience=LONG)
                return instance

            yield join


def election_of(instance: Instance) -> Election:
    """The instance's election."""
    return instance.election("settlement")


async def grant_in(store: Store) -> Grant:
    """The grant as it stands."""
    return Grant.of(await store.read(grant_key(SCOPE)))


async def line_of(store: Store) -> list[str]:
    """The names of those who stand in line, in its order."""
    return [Entry.of(record).instance for record in (await store.list(line_prefix(SCOPE))).records]


async def in_line(store: Store, *names: str) -> None:
    """Wait until these stand in line, in this order."""
    async with asyncio.timeout(LONG), store.changes([line_prefix(SCOPE)]) as changes:
        while await line_of(store) != list(names):
            await anext(changes)
