"""Rights of ZooKeeper's nodes, and a way to do to them what an administrator does."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from kazoo.protocol.serialization import SetACL
from kazoo.security import make_acl, make_digest_acl_credential

from locum.stores.address import Address
from locum.stores.zookeeper import protocol
from locum.stores.zookeeper.connection import ZooKeeperConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.servers.zookeeper import ZooKeeper

__all__ = ["all_under", "identity", "logged_in", "rights", "set_rights"]

_LETTERS: Final = {"c": "create", "d": "delete", "r": "read", "w": "write", "a": "admin"}


@asynccontextmanager
async def logged_in(server: ZooKeeper, login: str = "administrator:an0ther") -> AsyncIterator[ZooKeeperConnection]:
    """A connection of somebody who does what no instance does."""
    address = Address.parse(f"zookeeper://{login}@127.0.0.1:{server.port}", default_port=0)
    connection = await ZooKeeperConnection.make(address, within=20, timeout=20_000)
    try:
        yield connection
    finally:
        connection.abort()


def identity(user: str, password: str) -> str:
    """What ZooKeeper calls a login."""
    return str(make_digest_acl_credential(user, password))


def rights(given: Mapping[str, str]) -> protocol.Rights:
    """Which identities may do what, by ZooKeeper's letters."""
    may = {name: {_LETTERS[letter]: True for letter in letters} for name, letters in given.items()}
    return protocol.Rights([make_acl("digest", name, **allowed) for name, allowed in may.items()])


async def all_under(connection: ZooKeeperConnection, path: str) -> list[str]:
    """A node, and all below it."""
    names = await _asked(connection, protocol.children(path)) or []
    return [path, *[one for name in names for one in await all_under(connection, f"{path}/{name}")]]


async def set_rights(connection: ZooKeeperConnection, path: str, given: Mapping[str, str]) -> None:
    """Who may do what with a node from now on."""
    await _asked(connection, SetACL(path, rights(given).acl, -1))


async def _asked(connection: ZooKeeperConnection, request: protocol.Request) -> Any:
    """What is answered; `None` where the node is gone meanwhile."""
    try:
        return (await connection.ask(request)).what
    except protocol.Refusal as refusal:
        if refusal.code != protocol.NO_NODE:
            raise
        return None
