"""What a test sees of its cluster, and its waits: each has a deadline, and says what there was if it was in vain."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from locum.errors import ConfigurationError, StoreError
from locum.scopes import happens
from locum.testing.picture import lines_of_instances, lines_of_status
from locum.testing.processes import has_ended
from locum.views.status import read_status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from locum.clock import Clock
    from locum.store import Store
    from locum.testing.declared import Declared
    from locum.testing.instance import Instance
    from locum.views.status import Status

__all__ = ["Active", "WaitedInVainError", "Watch", "wait_for"]

T = TypeVar("T")

_PAUSE: Final = 0.01  # s, where only the kernel can tell
_LOOK_AT_LEAST_EVERY: Final = 0.1  # s: a process's end stands in no store
_PATIENCE: Final = 5.0  # s, for a last look
_WORKS: Final = ("active", "completed")
_WATCHED: Final = ("grant/", "line/", "member/", "session/", "journal/")


class WaitedInVainError(AssertionError):
    """Something did not come to pass in time: the test that waited for it has failed."""


@dataclass(frozen=True, slots=True)
class Active:
    """The instance that is active in a service.

    Attributes:
        service: The service.
        name: The instance.
        token: Its term's token.
    """

    service: str
    name: str
    token: int


async def wait_for(condition: Callable[[], bool], clock: Clock, *, timeout: float) -> bool:
    """Wait for something that only the kernel can tell.

    Returns:
        Whether it came to pass in time.
    """

    async def is_so() -> None:
        while not condition():
            await clock.sleep(_PAUSE)

    return await happens(is_so(), within=timeout)


class Watch:
    """The eyes of one cluster.

    Args:
        store: The open store.
        declared: What the host declares.
        instances: The cluster's, by name; more may come.
        clock: Of this process.
    """

    def __init__(self, store: Store, declared: Declared, instances: Mapping[str, Instance], clock: Clock) -> None:
        self.store, self.declared = store, declared
        self._instances, self._clock = instances, clock

    async def status(self) -> Status:
        """What the store says."""
        return await read_status(self.store, clock=self._clock)

    def check_service(self, service: str) -> None:
        """Refuse a service in which nobody can be active."""
        if service not in self.declared.exclusive:
            known = ", ".join(self.declared.exclusive) or "none"
            raise ConfigurationError(
                f"{self.declared.name} has no service {service!r} in which one instance is active; it has: {known}"
            )

    # -- waiting

    async def seen(self, look: Callable[[Status], T | None], what: str, timeout: float) -> T:
        """Wait until the store says something.

        Args:
            look: Finds it in a picture; `None` if it is not there.
            what: What is waited for, for the message.
            timeout: Seconds.
        """

        async def found() -> T | None:
            return look(await self.status())

        return await self.until(found, what, timeout)

    async def until(self, look: Callable[[], Awaitable[T | None]], what: str, timeout: float) -> T:
        """Look after every change of the store, and now and then, until there is something to see."""
        found: list[T] = []

        async def watch() -> None:
            async with self.store.changes(_WATCHED) as changes:
                while not found:
                    found.extend(await _whatever(look))
                    if not found:
                        await self._check_that_some_live(what)
                        await happens(anext(changes), within=_LOOK_AT_LEAST_EVERY)

        if not await happens(watch(), within=timeout):
            raise await self.in_vain(what, timeout)
        return found[0]

    async def happens(self, condition: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait for something that only the kernel can tell."""
        if not await wait_for(condition, self._clock, timeout=timeout):
            raise await self.in_vain(what, timeout)

    async def in_vain(self, what: str, timeout: float) -> WaitedInVainError:
        """The error of a wait whose time is up."""
        return WaitedInVainError(f"waited {timeout:g} s in vain for {what}\n{await self.described()}")

    async def described(self, *, whole: bool = False) -> str:
        """What the store says, and what the instances have said."""
        try:
            async with asyncio.timeout(_PATIENCE):
                lines = lines_of_status(await self.status())
        except (StoreError, TimeoutError) as error:
            lines = [f"the store says nothing: {error}"]
        return "\n".join([*lines, *lines_of_instances(self._instances.values(), whole=whole)])

    async def _check_that_some_live(self, what: str) -> None:
        if self._instances and all(one.has_left for one in self._instances.values()):
            raise WaitedInVainError(f"waited in vain for {what}: every instance has left\n{await self.described()}")

    # -- finding

    def active(self, status: Status, service: str, *, least: int = 0) -> Active | None:
        """Who is active under a token that is not less; one that was hurt is not, whatever the store says."""
        found = status.service(service)
        if found is None or found.active is None or found.mode not in _WORKS or found.token < least:
            return None
        instance = self._instances.get(found.active)
        if instance is not None:  # and not another's that uses the same store
            worker = next((one.worker for one in status.instances if one.session == found.session), None)
            if worker is None or has_ended(worker) or not instance.is_whole:
                return None  # the store has not heard yet what became of it
        return Active(service, found.active, found.token)

    def all_stand(self, status: Status) -> bool | None:
        """Whether every whole instance has its part in every service; `None` if not."""
        names = {one.name for one in self._instances.values() if one.is_whole}
        sessions = [one for one in status.instances if one.name in names]
        if sorted(one.name for one in sessions) != sorted(names):
            return None
        if any(one.worker is None or has_ended(one.worker) for one in sessions):
            return None
        for service in self.declared.everywhere:
            if not all(
                any((part.service, part.mode) == (service, "running") for part in one.parts) for one in sessions
            ):
                return None
        for service in self.declared.exclusive:
            active, found = self.active(status, service), status.service(service)
            if active is None or found is None or names - {active.name, *found.waiting}:
                return None
        return True


async def _whatever(look: Callable[[], Awaitable[Any]]) -> list[Any]:
    """What is found, if anything; a store that a test holds up is looked at again: the deadline ends the wait."""
    try:
        found = await look()
    except StoreError:
        return []
    return [] if found is None else [found]
