"""`locum revive`: a shard that failed too often is run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from locum import exit_codes
from locum.cli.looking import looking_at, which_store
from locum.clock import Clock
from locum.coordination.shard import revive
from locum.scopes import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.cli.looking import Place

__all__ = ["command"]


@click.command("revive", short_help="Run a dead shard again.")
@click.argument("service")
@click.argument("index", type=click.IntRange(min=0))
@which_store
def command(place: Callable[[], Place], service: str, index: int) -> int:
    """Give the shard INDEX of SERVICE another chance, which failed so often that nobody runs it any more."""
    if run(_revive(place(), service, index)):
        click.echo(f"{service} {index} is run again.")
        return exit_codes.CLEAN
    click.echo(f"{service} {index} is not dead: see locum status shards", err=True)
    return exit_codes.SERVICE_FAILED


async def _revive(place: Place, service: str, index: int) -> bool:
    async with looking_at(place, clock=Clock()) as store:
        return await revive(store, service, index)
