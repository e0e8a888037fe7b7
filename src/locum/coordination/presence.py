"""A presence: a session-bound node that stands there for as long as a block runs, under whichever session there is.

Under each session it is another node, under a name that nobody else has: who was lost and came back is told as two.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from locum.coordination.nodes import Node, Nodes
from locum.errors import ConflictError, SessionLostError, StoreError
from locum.names import join, random_id
from locum.scopes import Backoff, cancel_and_wait, finish
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from locum.coordination.commons import Commons
    from locum.coordination.hold import Hold
    from locum.keeper.lease import Lease

__all__ = ["Presence"]

_log = logger("coordination.presence")


class Presence:
    """Keeps a node below a folder.

    Args:
        commons: Whose session it lives with.
        folder: Below which it stands.
        value: What it says at first.
        under: What must be held for it: then it lives with that session alone. Otherwise it is made anew under the
            next session when one was lost.
    """

    def __init__(self, commons: Commons, folder: str, value: bytes, *, under: Hold | None = None) -> None:
        self._commons, self._folder, self._value, self._under = commons, folder, value, under
        self._turn = asyncio.Lock()
        self._lease: Lease | None = None
        self._path = ""
        self._node: Node | None = None

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """It stands there for the length of the block, from its first line on."""
        self._commons.origin.check()
        try:
            await self.say(self._value)
            work = self._keep() if self._under is None else self._withdraw(self._under)
            keeping = self._commons.spawn(work, f"presence in {self._folder}")
            try:
                yield
            finally:
                await cancel_and_wait(keeping)
        finally:
            leaving = self._commons.settle(self._leave(), f"leave {self._folder}")
            await finish(leaving, timeout=self._commons.store.call_timeout)

    async def say(self, value: bytes) -> None:
        """Write what it says, and return when it stands there; while the store does not answer, it waits."""
        async with self._turn:
            self._value = value
            await self._write()

    async def _keep(self) -> None:
        """Make it anew under each session."""
        while True:
            lease = await self._commons.leases.lease()
            async with self._turn:
                if self._node is None or self._node.session != lease.session:
                    await self._write()
            await _over(lease)

    async def _withdraw(self, under: Hold) -> None:
        """Take it away as soon as what it goes with is to end: who is in the middle of something may finish that."""
        await under.over()
        await self._leave()

    async def _write(self) -> None:
        """Write until it stands under the session of this moment."""
        pause = Backoff(0.02, 1.0)
        while True:
            if self._under is not None:
                self._under.check()
            lease = self._under.lease if self._under is not None else await self._commons.leases.lease()
            try:
                await self._commons.meet(lease)
                if await self._written(lease):
                    return
            except (StoreError, SessionLostError) as error:
                _log.debug("%s: %s", self._folder, error)
                await self._commons.clock.sleep(pause.delay())

    async def _written(self, lease: Lease) -> bool:
        if self._lease is None or lease.session != self._lease.session:
            self._path, self._node = join(self._folder, random_id()), None
        self._lease = lease

        async def session() -> str:
            return lease.session

        nodes = Nodes(self._commons.store, accept=self._commons.session, session=session)
        try:
            if self._node is None:
                self._node = await nodes.create(self._path, self._value, session_bound=True)
            else:
                self._node = await nodes.set(self._path, self._value, version=self._node.version)
        except ConflictError as error:
            # an earlier sending of ours had landed, or somebody wrote or deleted it by hand: written over
            self._node = error.current if isinstance(error.current, Node) else None
            return False
        return True

    async def _leave(self) -> None:
        """Take it away: while it stood there others would count on it."""
        nodes, pause = Nodes(self._commons.store, accept=self._commons.session), Backoff(0.02, 1.0)
        while self._lease is not None and not self._lease.is_lost:  # a lost one has taken it along
            try:
                await nodes.delete(self._path)
            except StoreError as error:
                _log.debug("%s: %s", self._folder, error)
                await self._commons.clock.sleep(pause.delay())
            else:
                self._lease = None


async def _over(lease: Lease) -> None:
    """Wait until a lease is lost, or has missed its deadline."""
    over = asyncio.Event()
    forget = lease.on_end(lambda _: over.set())
    try:
        if not lease.is_lost:
            await over.wait()
    finally:
        forget()
