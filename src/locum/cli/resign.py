"""`locum resign`: ask the active instance of a service for the planned end of its term."""

from __future__ import annotations

import getpass
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from locum import exit_codes
from locum.cli.looking import looking_at, which_store
from locum.clock import Clock, seconds
from locum.coordination.coordinator import REQUESTS
from locum.coordination.grant import Grant, grant_key
from locum.errors import ConfigurationError, ConflictError
from locum.identity import host_name
from locum.names import check_name, join
from locum.scopes import happens, run
from locum.store import ANY
from locum.views.status import read_status

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.cli.looking import Place
    from locum.store import Store
    from locum.views.status import Service

__all__ = ["command"]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of it, in one sentence, and whether somebody new is active."""

    text: str
    is_done: bool


@click.command("resign", short_help="Let another instance take a service over, as planned.")
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
def command(service: str, place: Callable[[], Place], timeout: float) -> int:
    """Ask the active instance of SERVICE to end its term as planned, and wait until another one is active.

    It stands in line again afterwards; if it is alone, it becomes active again.
    """
    try:
        check_name(service, what="the name of a service")
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    outcome = run(_resign(place(), service, timeout))
    click.echo(outcome.text, err=not outcome.is_done)
    return exit_codes.CLEAN if outcome.is_done else exit_codes.SERVICE_FAILED


async def _resign(place: Place, name: str, timeout: float) -> _Outcome:
    clock = Clock()
    async with looking_at(place, clock=clock) as store:
        status = await read_status(store, clock=clock)
        service = status.service(name)
        if service is None or not service.exclusive:
            known = ", ".join(one.name for one in status.services if one.exclusive) or "none"
            return _Outcome(
                f"{store.namespace} has no service {name!r} in which one instance is active; it has: {known}.", False
            )
        if service.active is None:
            before = f" (was {service.previous})" if service.previous else ""
            return _Outcome(f"Nobody is active in {name}{before}: there is nothing to resign.", False)
        return await _ask(store, service, clock, timeout)


async def _ask(store: Store, service: Service, clock: Clock, timeout: float) -> _Outcome:
    scope = join("election", service.name)
    request = json.dumps({"token": service.token, "why": f"was asked to resign by {_user()}@{host_name()}"})
    async with store.changes([grant_key(scope)]) as changes:  # stands before the asking, so that no answer is missed
        begun = clock.now()
        record = await store.write(REQUESTS + scope, request.encode(), expect=ANY)
        try:
            grant = Grant(service.token)

            async def until_another_holds_it() -> None:
                nonlocal grant
                while True:
                    grant = Grant.of(await store.read(grant_key(scope)))
                    if grant.holder is not None and grant.token > service.token:
                        return
                    await anext(changes)

            if not await happens(until_another_holds_it(), within=timeout):
                return _Outcome(_not_in_time(service, grant, timeout), False)
        finally:
            try:
                await store.delete(record.key, expect=record.revision)
            except ConflictError:
                pass  # somebody else has asked for something since
    taken = round(seconds(clock.now() - begun) * 1000)
    now = grant.holder.instance if grant.holder else ""
    again = " again" if now == service.active else ""
    return _Outcome(
        f"{now} is active in {service.name}{again} (token {grant.token}): {service.active} resigned, all within"
        f" {taken} ms.",
        True,
    )


def _not_in_time(service: Service, grant: Grant, timeout: float) -> str:
    if grant.holder is None:
        return f"{service.active} has resigned {service.name}, and nobody has taken over within {timeout:g} s."
    return (
        f"{service.active} is still active in {service.name} (token {service.token}) after {timeout:g} s:"
        " it is not asked any more."
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())  # a container's user without a name
