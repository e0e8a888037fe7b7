"""Naming: under which address a service is to be reached, and where the one that is active in it listens.

Promises: an endpoint is there from when it was published until its block or its session ends, and no longer; that of a
term carries the term's token, and goes with it; a watch shows the state at once and whatever the last one is.
Assumes: all who publish the active's endpoint of one service hold their terms in one scope, whose tokens only grow.
On loss: the endpoint of a term is gone with the session and is not published again; another one is, under the next.
"""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from locum.coordination.known import Known
from locum.coordination.nodes import Node, Nodes, prefix_of
from locum.coordination.presence import Presence
from locum.coordination.watching import states
from locum.errors import ConfigurationError, CorruptRecordError
from locum.names import check_name, join

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable

    from locum.coordination.commons import Commons
    from locum.coordination.term import Term
    from locum.store import Record

__all__ = ["FOLDER", "Endpoint", "Naming", "active_of"]

FOLDER: Final = "endpoints"
"""The folder of the nodes that endpoints are."""

_WHERE: Final = ("listener", "partition", "replica")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a service is to be reached.

    Attributes:
        service: The name of the service.
        address: Whatever its callers understand, for example a URL.
        instance: Whose it is.
        token: The token of the term that it goes with; `None` if it goes with none.
        listener: Tells it from the other addresses of the same service; empty for the first.
        partition: The partition of a stateful service; empty if it has none.
        replica: Tells it from the others of the partition.
        id: A random id that no other endpoint has, had, or will have.
        number: Its place in the order of publishing.
    """

    service: str
    address: str
    instance: str
    token: int | None = None
    listener: str = ""
    partition: str = ""
    replica: str = ""
    id: str = ""
    number: int = 0

    @classmethod
    def of(cls, node: Node) -> Endpoint:
        """The endpoint that a node is.

        Raises:
            CorruptRecordError: It is something else.
        """
        try:
            said: dict[str, Any] = json.loads(node.value)
            if said["token"] is not None and type(said["token"]) is not int:
                raise ValueError(f"its token is {said['token']!r}")
            return cls(
                service=node.path.split("/")[1],
                address=str(said["address"]),
                instance=str(said["instance"]),
                token=said["token"],
                **{name: str(said.get(name, "")) for name in _WHERE},
                id=node.path.rpartition("/")[2],
                number=node.number,
            )
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise CorruptRecordError(node.path, f"it is no endpoint ({error!r})") from error

    def to_bytes(self) -> bytes:
        """As its node keeps it."""
        where = {name: said for name in _WHERE if (said := getattr(self, name))}
        return json.dumps({"address": self.address, "instance": self.instance, "token": self.token, **where}).encode()


def active_of(endpoints: Iterable[Endpoint]) -> Endpoint | None:
    """The endpoint of the one that is active: of those that go with a term, the one with the highest token."""
    return max(
        (one for one in endpoints if one.token is not None), key=lambda one: (one.token, one.number), default=None
    )


class Naming:
    """The endpoints of the services of a namespace.

    Args:
        commons: Whose session an endpoint lives with.
    """

    def __init__(self, commons: Commons) -> None:
        self._commons = commons
        self._nodes = Nodes(commons.store, accept=commons.session)

    def publish(
        self,
        service: str,
        address: str,
        *,
        term: Term | None = None,
        listener: str = "",
        partition: str = "",
        replica: str = "",
    ) -> AbstractAsyncContextManager[None]:
        """Publish an endpoint for the length of the block.

        Args:
            service: The name of the service.
            address: Whatever its callers understand, for example a URL.
            term: With it, this is the endpoint of the one that is active: enter the block within the term's own, so
                that it is withdrawn before the term is given up. Without it, it is published again under each session.
            listener: Tells it from the other addresses of the same service.
            partition: The partition of a stateful service.
            replica: Tells it from the others of the partition.

        Raises:
            TermEndedError: The term is over; nothing is published.
        """
        if not address:
            raise ConfigurationError(f"{service} cannot be published without an address: give what its callers need")
        endpoint = Endpoint(
            service=_checked(service),
            address=address,
            instance=self._commons.instance,
            token=None if term is None else term.token,
            listener=listener,
            partition=partition,
            replica=replica,
        )
        return Presence(self._commons, join(FOLDER, service), endpoint.to_bytes(), under=term).kept()

    async def resolve(self, service: str) -> Endpoint | None:
        """Where the one that is active in a service is to be reached; `None` if none is published."""
        return active_of(await self.list(service))

    async def list(self, service: str) -> tuple[Endpoint, ...]:
        """All endpoints of a service, in the order of publishing."""
        return await self._list(service, Known(_endpoint))

    def watch(self, service: str) -> AsyncGenerator[Endpoint | None, None]:
        """Where the active one is: at once, and again after each change; the last state always comes.

        States between two looks are passed over. While the store does not answer nothing comes; then what is there.
        """
        known = Known(_endpoint)

        async def look(told: frozenset[str]) -> Endpoint | None:
            return active_of(await self._list(service, known, told))

        return states(self._commons.store, self._prefix(service), look)

    def watch_list(self, service: str) -> AsyncGenerator[tuple[Endpoint, ...], None]:
        """All endpoints of a service, just as `watch` shows one."""
        known = Known(_endpoint)
        return states(self._commons.store, self._prefix(service), lambda told: self._list(service, known, told))

    async def _list(self, service: str, known: Known[Endpoint], told: Collection[str] = ()) -> tuple[Endpoint, ...]:
        return await self._nodes.list_as(join(FOLDER, _checked(service)), known, told)

    def _prefix(self, service: str) -> str:
        self._commons.origin.check()
        return prefix_of(join(FOLDER, _checked(service)))


def _endpoint(record: Record) -> Endpoint:
    return Endpoint.of(Node.of(record))


def _checked(service: str) -> str:
    return check_name(service, what="the name of a service")
