"""`locum transfer`: ask the active instance of a service to leave it to an instance that is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from locum.cli.asking import Asking, Outcome, asks, check_argument, whoever_asks
from locum.coordination.line import check_successor
from locum.coordination.request import Request

if TYPE_CHECKING:
    from locum.cli.asking import Answer, Seat

__all__ = ["command"]


@click.command("transfer", short_help="Let an instance that is named take a service over, as planned.")
@click.option("--to", metavar="INSTANCE", required=True, help="The instance, which must wait in line.")
@asks
def command(to: str, timeout: float) -> Asking:
    """Ask the active instance of SERVICE to end its term as planned, and wait until the named one is active.

    SERVICE/PARTITION is a partition of a stateful service: its primary hands over to a secondary that has caught up.

    Nobody else takes over for one TTL, unless the named one stops or dies meanwhile. If it has not taken over by then,
    whoever is next in line does.
    """
    check_argument(to, what="the name of an instance")

    def request(service: Seat) -> Request:
        check_successor(service.name, to, holder=service.active or "", waiting=service.waiting)
        return Request(service.token, f"was transferred to {to} (asked by {whoever_asks()})", to)

    def told(answer: Answer) -> Outcome:
        service, now = answer.service, answer.now
        active = f"{now} is {service.words} (token {answer.grant.token})"
        if now == to:
            return Outcome(f"{active}: transferred from {service.active}, all within {answer.taken} ms.", True)
        if now:
            return Outcome(
                f"{active}, and not {to}, which did not take over in time; `locum journal {service.name}` tells how the"
                f" term of {service.active} ended.",
                False,
            )
        return Outcome(answer.not_in_time(f"left {service.name} to {to}", timeout), False)

    return Asking("transfer", request, told)
