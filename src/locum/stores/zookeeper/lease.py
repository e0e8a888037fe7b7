"""A ZooKeeper session that a Locum session is: gone on with after every break, and only by one who can hear."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.stores.address import Address
    from locum.stores.zookeeper.connection import ZooKeeperConnection

__all__ = ["Lease"]


class Lease:
    """What is needed to go on with a session on another connection.

    A server takes the first message of a connection for a sign of life, whether or not its answer arrives. Where only
    answers are lost, an owner that tries again and again would keep a session alive in which it can do nothing, and its
    successor would wait for that. So after a try that got no answer it first has a connection of no account answered.

    Args:
        address: Where the servers are, and as whom one connects.
        timeout: The wanted timeout of the session, in ms.
        within: Asked for the seconds that a call may take.

    Attributes:
        granted: The timeout that was granted, in ms; 0 before that.
        expired: Whether the session is over.
    """

    def __init__(self, address: Address, timeout: int, within: Callable[[], float]) -> None:
        self._address, self._timeout, self._within = address, timeout, within
        self._session, self._password = 0, b"\x00" * 16
        self._is_heard = True
        self.granted = 0
        self.expired = False

    async def connect(self) -> ZooKeeperConnection:
        """Connect: first with a new session, from then on with that one."""
        from locum.stores.zookeeper.connection import ExpiredError, ZooKeeperConnection

        if not self._is_heard:
            (await ZooKeeperConnection.make(self._address, within=self._within(), timeout=1)).abort()
            self._is_heard = True
        try:
            made = await ZooKeeperConnection.make(
                self._address,
                within=self._within(),
                timeout=self._timeout,
                session=self._session,
                password=self._password,
            )
        except ExpiredError:
            self.expired = True
            raise
        except asyncio.CancelledError:  # its time was over, and nobody had answered
            self._is_heard = False
            raise
        self.granted, self._session, self._password, _ = made.greeting
        return made
