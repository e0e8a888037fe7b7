"""Asking the active instance of a service, or the primary of a partition, for the planned end of its term.

And waiting for the next one.
"""

from __future__ import annotations

import functools
import getpass
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from locum import exit_codes
from locum.cli.looking import looking_at, which_store
from locum.cli.words import ranges
from locum.clock import Clock, seconds
from locum.coordination.grant import Grant, grant_key
from locum.coordination.replica_report import KIND
from locum.coordination.request import request_key
from locum.errors import ConfigurationError, ConflictError
from locum.identity import host_name
from locum.names import check_name, join
from locum.scopes import happens, run
from locum.store import ANY
from locum.views.status import read_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.cli.looking import Place
    from locum.coordination.request import Request
    from locum.store import Store
    from locum.views.partitions import PartitionView
    from locum.views.status import Service, Status

__all__ = ["Answer", "Asking", "Outcome", "Seat", "ask", "asks", "check_argument", "whoever_asks"]

F = TypeVar("F", bound="Callable[..., Any]")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, in one sentence, and whether it is what was asked for."""

    text: str
    is_done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """What one instance at a time has, and may be asked to give up.

    Attributes:
        name: As commands name it.
        scope: Under which it is coordinated.
        words: What who has it is, as in "web-1 is active in settle".
        active: Who has it; `None` if nobody has.
        previous: Where nobody has: who had; empty if nobody did.
        token: The token of who has it, or of the last one.
        waiting: Who waits for it, the next one first.
    """

    name: str
    scope: str
    words: str
    active: str | None
    previous: str
    token: int
    waiting: tuple[str, ...]

    @classmethod
    def of_service(cls, one: Service) -> Seat:
        """A service in which one instance is active."""
        return cls(
            name=one.name,
            scope=join("election", one.name),
            words=f"active in {one.name}",
            active=one.active,
            previous=one.previous,
            token=one.token,
            waiting=one.waiting,
        )

    @classmethod
    def of_partition(cls, one: PartitionView) -> Seat:
        """A partition, which has a primary."""
        return cls(
            name=one.name,
            scope=join(KIND, one.service, str(one.index)),
            words=f"the primary of {one.name}",
            active=one.primary,
            previous=one.previous,
            token=one.token,
            waiting=one.waiting,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """How it stood when its active instance was asked, and how its grant stands now.

    Attributes:
        service: What it was asked for, as it stood then.
        grant: As it stands now.
        taken: Milliseconds in between.
    """

    service: Seat
    grant: Grant
    taken: int

    @property
    def now(self) -> str:
        """The instance that is active after the asked one's term; empty if none is, or that one still is."""
        holder = self.grant.holder
        return holder.instance if holder is not None and self.grant.token > self.service.token else ""

    def not_in_time(self, done: str, timeout: float) -> str:
        """How it stands where no other term has begun within so many seconds.

        Args:
            done: What the active instance has done if it holds the service no more, as in "resigned settle".
            timeout: The seconds.
        """
        service = self.service
        if self.grant.holder is None:
            return f"{service.active} has {done}, and nobody has taken over within {timeout:g} s."
        return (
            f"{service.active} is still {service.words} (token {service.token}) after {timeout:g} s:"
            " it is not asked any more."
        )


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked of whom, and how the answer is told.

    Attributes:
        verb: For messages: what there is nothing of if nobody is active.
        request: The request to a service's active instance; raises what speaks against it.
        told: The outcome of an answer.
    """

    verb: str
    request: Callable[[Seat], Request]
    told: Callable[[Answer], Outcome]


def asks(command: Callable[..., Asking]) -> Callable[..., int]:
    """The arguments and options of a command that asks; it gets its own, and the seconds, and says what is asked."""

    @click.argument("service")
    @which_store
    @click.option(
        "--timeout",
        metavar="S",
        type=click.FloatRange(min=0),
        default=30,
        show_default=True,
        help="Seconds to wait for it.",
    )
    @functools.wraps(command)
    def asking(service: str, place: Callable[[], Place], timeout: float, **own: Any) -> int:
        name, slash, partition = service.partition("/")
        check_argument(name, what="the name of a service")
        if slash:
            check_argument(partition, what="the name of a partition")
        outcome = run(_ask_at(place(), service, command(timeout=timeout, **own), timeout))
        click.echo(outcome.text, err=not outcome.is_done)
        return exit_codes.CLEAN if outcome.is_done else exit_codes.SERVICE_FAILED

    return cast("Callable[..., int]", asking)


def check_argument(name: str, *, what: str) -> None:
    """Refuse a name that cannot be one, as wrong use of the command."""
    try:
        check_name(name, what=what)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error


def whoever_asks() -> str:
    """Who runs this command, for the journal."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())  # a container's user without a name
    return f"{user}@{host_name()}"


async def _ask_at(place: Place, name: str, asking: Asking, timeout: float) -> Outcome:
    clock = Clock()
    async with looking_at(place, clock=clock) as store:
        status = await read_status(store, clock=clock)
        seat = _seat(status, name, asking.verb)
        if isinstance(seat, Outcome):
            return seat
        if seat.active is None:
            before = f" (was {seat.previous})" if seat.previous else ""
            return Outcome(f"Nobody is {seat.words}{before}: there is nothing to {asking.verb}.", False)
        return asking.told(await ask(store, seat, asking.request(seat), clock, timeout))


def _seat(status: Status, name: str, verb: str) -> Seat | Outcome:
    """What is meant by a name: a service, or a partition of one; or why nothing is."""
    service, _, partition = name.partition("/")
    parts = status.partitions_of(service)
    found = status.service(service)
    if found is not None and found.exclusive and not partition:
        return Seat.of_service(found)
    if parts and (partition or len(parts) == 1):
        meant = next((one for one in parts if partition in ("", one.partition)), None)
        if meant is not None:
            return Seat.of_partition(meant)
    if parts:
        told = ranges([one.partition for one in parts])
        if partition:
            return Outcome(f"{service} has no partition {partition!r}; it has: {told}.", False)
        return Outcome(
            f"{service} has {len(parts)} partitions ({told}): {verb} one of them, as {parts[0].name}.", False
        )
    known = [one.name for one in status.services if one.exclusive]
    known += [f"{one.name}/PARTITION" if one.partitions > 1 else one.name for one in status.services if one.partitions]
    return Outcome(
        f"{status.namespace} has no service {name!r} in which one instance is active; it has:"
        f" {', '.join(sorted(known)) or 'none'}.",
        False,
    )


async def ask(store: Store, service: Seat, request: Request, clock: Clock, timeout: float) -> Answer:
    """Put a request until another term has begun or the time is up, and take it back."""
    scope = service.scope
    grant = Grant(service.token)

    async def until_another_holds_it() -> None:
        nonlocal grant
        while True:
            grant = Grant.of(await store.read(grant_key(scope)))
            if grant.holder is not None and grant.token > service.token:
                return
            await anext(changes)

    async with store.changes([grant_key(scope)]) as changes:  # stands before the asking, so that no answer is missed
        begun = clock.now()
        record = await store.write(request_key(scope), request.to_bytes(), expect=ANY)
        try:
            await happens(until_another_holds_it(), within=timeout)
            taken = clock.now() - begun
        finally:
            try:
                await store.delete(record.key, expect=record.revision)
            except ConflictError:
                pass  # somebody else has asked for something since
    return Answer(service, grant, round(seconds(taken) * 1000))
