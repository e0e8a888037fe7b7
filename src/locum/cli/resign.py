"""`locum resign`: ask the active instance of a service for the planned end of its term."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from locum.cli.asking import Asking, Outcome, asks, whoever_asks
from locum.coordination.request import Request

if TYPE_CHECKING:
    from locum.cli.asking import Answer, Seat

__all__ = ["command"]


@click.command("resign", short_help="Let another instance take a service over, as planned.")
@asks
def command(timeout: float) -> Asking:
    """Ask the active instance of SERVICE to end its term as planned, and wait until another one is active.

    SERVICE/PARTITION is a partition of a stateful service: its primary hands over to the secondary that is next.

    It stands in line again afterwards; if it is alone, it becomes active again.
    """

    def told(answer: Answer) -> Outcome:
        service, now = answer.service, answer.now
        if now:
            again = " again" if now == service.active else ""
            return Outcome(
                f"{now} is {service.words}{again} (token {answer.grant.token}): {service.active} resigned,"
                f" all within {answer.taken} ms.",
                True,
            )
        return Outcome(answer.not_in_time(f"resigned {service.name}", timeout), False)

    return Asking("resign", _request, told)


def _request(service: Seat) -> Request:
    return Request(service.token, f"was asked to resign by {whoever_asks()}")
