"""Listeners: how one replica of a service is reached, from the opening to the end of its addresses.

A listener is anything with `open`, which returns the address, and `close`, which ends it in good order; one that has
`abort` besides is ended by that where there is no time. Addresses are published under the name of the service, and
those of an ASGI listener have a path of their own: a caller that comes to an old one is not served by whoever listens
there now.
"""

from __future__ import annotations

import inspect
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from locum.errors import ConfigurationError
from locum.names import check_name, join, random_id
from locum.scopes import Scope, told_by_result
from locum.service import grace_of
from locum.services.asgi import AsgiListener
from locum.services.bounded import TimeIsUpError, bounded
from locum.telemetry import exc_info_of, logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from locum.coordination.naming import Naming
    from locum.coordination.term import Term

__all__ = ["Listener", "Listeners", "Listening", "Place"]

_log = logger("services.listeners")


class Listener(Protocol):
    """Something that listens."""

    async def open(self) -> str:
        """Listen.

        Returns:
            The address, in whatever words its callers understand.
        """

    async def close(self) -> None:
        """Take nothing more in, finish what is there, and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """One listener of a service, with what is said about it.

    Attributes:
        listener: The listener.
        name: Tells it from the service's others.
        on_secondary: Whether it listens on secondaries too; otherwise on the primary alone.
    """

    listener: Listener
    name: str = ""
    on_secondary: bool = False

    @classmethod
    def of(cls, given: Listener | Listening) -> Listening:
        """What a service has given, which may be the listener alone."""
        return given if isinstance(given, Listening) else cls(listener=given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What listens.

    Attributes:
        service: The name of the service.
        partition: The name of the partition; empty if it has none.
        replica: Tells it from the others of the partition; empty if there is no partition.
    """

    service: str
    partition: str = ""
    replica: str = ""

    def fresh_path(self) -> str:
        """A path that nobody else has, had, or will have; empty where there is no partition."""
        return "/" + join(self.partition, self.replica, random_id()) if self.partition else ""

    def __str__(self) -> str:
        """For people."""
        return f"{self.service}/{self.partition}" if self.partition else self.service


class Listeners:
    """The listeners of one replica; opened and closed again and again, each time others.

    Args:
        place: Whose they are.
        naming: Where their addresses are published.
    """

    def __init__(self, place: Place, naming: Naming) -> None:
        self._place, self._naming = place, naming
        self._scope = Scope(f"listeners of {place}", on_error=told_by_result)
        self._open: list[tuple[Listening, str]] = []
        self._published = AsyncExitStack()
        self._term: Term | None = None

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses by the listeners' names."""
        return {one.name: address for one, address in self._open}

    async def open(self, wanted: Iterable[Listening], term: Term | None) -> None:
        """Open them, one after another; who asks is told to ask again. If one fails, those that were open are aborted.

        Args:
            wanted: The listeners.
            term: Under which they serve; `None` if that needs none.

        Raises:
            ConfigurationError: Two of them cannot be told from each other, or one has no name that can be published.
        """
        self._term, wanted = term, list(wanted)
        _check_names(self._place, [one.name for one in wanted])
        try:
            for one in wanted:
                path = ""
                if isinstance(one.listener, AsgiListener):
                    path = self._place.fresh_path()
                    one.listener.gate.await_readiness(path, term)
                self._open.append((one, ""))  # one that fails half-way is aborted too
                self._open[-1] = (one, await one.listener.open() + path)
        except BaseException:
            await self.abort()
            raise

    async def publish(self) -> None:
        """Publish their addresses."""
        for one, address in self._open:
            publishing = self._naming.publish(
                self._place.service,
                address,
                term=self._term,
                listener=one.name,
                partition=self._place.partition,
                replica=self._place.replica,
            )
            await self._published.enter_async_context(publishing)

    def are_ready(self) -> None:
        """Serve whoever asks."""
        for one, _ in self._open:
            if isinstance(one.listener, AsgiListener):
                one.listener.gate.open(self._term)

    async def withdraw(self) -> None:
        """Publish them no more."""
        published, self._published = self._published, AsyncExitStack()
        await published.aclose()

    async def close(self, within: float) -> None:
        """Close them, the last one first; one that fails or takes too long is aborted, and the others closed still.

        Args:
            within: Seconds for all of them.

        Raises:
            ExceptionGroup: What went wrong.
        """
        errors: list[Exception] = []
        each = within / max(1, len(self._open))
        while self._open:
            one, address = self._open.pop()
            try:
                await bounded(
                    one.listener.close(),
                    name=f"{self._place}'s listener at {address}",
                    limit=grace_of(each),
                    patience=each - grace_of(each),
                    scope=self._scope,
                )
            except TimeIsUpError as late:
                errors.append(TimeoutError(f"the listener at {address} was not closed within {grace_of(each):g} s"))
                errors[-1].add_note(f"it stood {late.where}")
                await self._abort(one)
            except Exception as error:
                errors.append(error)
                await self._abort(one)
        if errors:
            raise ExceptionGroup(f"listeners of {self._place} were not closed", errors)

    async def abort(self) -> None:
        """End them at once."""
        while self._open:
            await self._abort(self._open.pop()[0])

    async def _abort(self, one: Listening) -> None:
        """What has no time left is told, and never raised."""
        abort = getattr(one.listener, "abort", None)
        try:
            outcome = abort() if abort is not None else None
            if inspect.isawaitable(outcome):
                await outcome
        except Exception as error:
            _log.warning("a listener of %s failed while it was aborted", self._place, exc_info=exc_info_of(error))


def _check_names(place: Place, names: list[str]) -> None:
    for name in filter(None, names):
        check_name(name, what="the name of a listener")
    if len(set(names)) < len(names):
        told = ", ".join(name or "without a name" for name in names)
        raise ConfigurationError(
            f"the listeners of {place} cannot be told apart ({told}): give each a Listening(name=...)"
        )
