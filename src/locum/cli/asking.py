"""Asking the active instance of a service for the planned end of its term, and waiting for the next one."""

from __future__ import annotations

import functools
import getpass
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from locum import exit_codes
from locum.cli.looking import looking_at, which_store
from locum.clock import Clock, seconds
from locum.coordination.grant import Grant, grant_key
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
    from locum.views.status import Service

__all__ = ["Answer", "Asking", "Outcome", "ask", "asks", "check_argument", "whoever_asks"]

F = TypeVar("F", bound="Callable[..., Any]")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it, in one sentence, and whether it is what was asked for."""

    text: str
    is_done: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """How a service stood when its active instance was asked, and how its grant stands now.

    Attributes:
        service: As it stood when it was asked.
        grant: As it stands now.
        taken: Milliseconds in between.
    """

    service: Service
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
            f"{service.active} is still active in {service.name} (token {service.token}) after {timeout:g} s:"
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
    request: Callable[[Service], Request]
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
        check_argument(service, what="the name of a service")
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
        service = status.service(name)
        if service is None or not service.exclusive:
            known = ", ".join(one.name for one in status.services if one.exclusive) or "none"
            return Outcome(
                f"{store.namespace} has no service {name!r} in which one instance is active; it has: {known}.", False
            )
        if service.active is None:
            before = f" (was {service.previous})" if service.previous else ""
            return Outcome(f"Nobody is active in {name}{before}: there is nothing to {asking.verb}.", False)
        return asking.told(await ask(store, service, asking.request(service), clock, timeout))


async def ask(store: Store, service: Service, request: Request, clock: Clock, timeout: float) -> Answer:
    """Put a request until another term has begun or the time is up, and take it back."""
    scope = join("election", service.name)
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
