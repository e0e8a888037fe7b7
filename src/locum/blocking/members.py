"""Members and names, for code that blocks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from locum.blocking.portal import entered

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from locum.blocking.contexts import Term
    from locum.blocking.portal import Portal
    from locum.coordination import members, naming


__all__ = ["Members", "Membership", "Naming"]


class Membership:
    """One's own membership, while its block runs, for code that blocks."""

    def __init__(self, handle: members.Membership, portal: Portal) -> None:
        self._handle, self._portal = handle, portal

    def update(
        self, *, load: float | None = None, version: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Say something else; what is not given stays as it is. Returns when others can see it."""
        self._portal.run(self._handle.update(load=load, version=version, metadata=metadata))


class Members:
    """The members of one group, for code that blocks; see `locum.coordination.members.Members`."""

    def __init__(self, handle: members.Members, portal: Portal) -> None:
        self._handle, self._portal = handle, portal

    @contextmanager
    def join(
        self, *, version: str = "", load: float | None = None, metadata: Mapping[str, str] | None = None
    ) -> Iterator[Membership]:
        """Be a member for the length of the block; under each session of this instance, if one is lost."""
        joining = self._handle.join(version=version, load=load, metadata=metadata)
        with entered(joining, self._portal.run) as handle:
            yield Membership(handle, self._portal)

    def list(self) -> tuple[members.Member, ...]:
        """Who is here, in the order of joining."""
        return self._portal.run(self._handle.list())

    def watch(self) -> Iterator[tuple[members.Member, ...]]:
        """Who is here: at once, and again after each change; the last state always comes."""
        return self._portal.each(self._handle.watch())

    def changes(self) -> Iterator[members.Difference]:
        """Who left, joined, or says something else, from one look to the next."""
        return self._portal.each(self._handle.changes())


class Naming:
    """The endpoints of the services of a namespace, for code that blocks; see `locum.coordination.naming.Naming`."""

    def __init__(self, handle: naming.Naming, portal: Portal) -> None:
        self._handle, self._portal = handle, portal

    @contextmanager
    def publish(self, service: str, address: str, *, term: Term | None = None) -> Iterator[None]:
        """Publish an endpoint for the length of the block; with `term`, that of the one that is active.

        Raises:
            TermEndedError: The term is over; nothing is published.
        """
        publishing = self._handle.publish(service, address, term=None if term is None else term._handle)
        with entered(publishing, self._portal.run):
            yield

    def resolve(self, service: str) -> naming.Endpoint | None:
        """Where the one that is active in a service is to be reached; `None` if none is published."""
        return self._portal.run(self._handle.resolve(service))

    def list(self, service: str) -> tuple[naming.Endpoint, ...]:
        """All endpoints of a service, in the order of publishing."""
        return self._portal.run(self._handle.list(service))

    def watch(self, service: str) -> Iterator[naming.Endpoint | None]:
        """Where the active one is: at once, and again after each change; the last state always comes."""
        return self._portal.each(self._handle.watch(service))

    def watch_list(self, service: str) -> Iterator[tuple[naming.Endpoint, ...]]:
        """All endpoints of a service, just as `watch` shows one."""
        return self._portal.each(self._handle.watch_list(service))
