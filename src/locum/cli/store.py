"""`locum store`: what an operator does to a store as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from locum.cli.looking import looking_at, which_store
from locum.clock import Clock, nanoseconds, seconds
from locum.floor import Floor
from locum.registry import definition, without_secrets
from locum.scopes import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.cli.looking import Place

__all__ = ["command"]


@click.group("store", short_help="Make a store's tables, or tell it that it was restored.")
def command() -> None:
    """What is done to a store as a whole."""


@command.command("reset", short_help="Give a restored store a new identity; all sessions end.")
@which_store
@click.option(
    "--above",
    metavar="TOKEN",
    type=click.IntRange(min=0),
    default=0,
    help="The highest token that was given out before the restore, if it is known: no new one is at or below it.",
)
@click.option("--yes", is_flag=True, help="Do not ask first.")
def reset(place: Callable[[], Place], above: int, yes: bool) -> None:
    """Make a store that was restored from a backup safe to use.

    The backup does not know who has been at work since it was made. The store gets a new identity: every session is
    closed, instances that run step down at once, and nothing is granted until one of them has watched it for the
    longest TTL. Instances that ran all the while notice a restore by themselves; this is for those that were stopped.
    """
    where = place()
    if not yes:
        click.confirm(f"End every session in {without_secrets(where.url)}?", abort=True)
    click.echo(run(_reset(where, above)))


@command.command("schema", short_help="Print the statements that make a store's tables.")
@click.argument("store", metavar="URL")
def schema(store: str) -> None:
    """Print the statements that make the tables of a store, for whoever owns the database.

    URL is the store's, such as `postgresql://db.internal/billing?schema=locum`, or only what it begins with:
    `postgresql`. Nothing is connected to. Without this the first instance makes the tables itself.
    """
    for statement in definition(store if "://" in store else f"{store}://localhost/locum"):
        click.echo(f"{statement};\n")


async def _reset(place: Place, above: int) -> str:
    async with looking_at(place, clock=Clock()) as store:
        ended = len((await store.sessions()).by_id)
        await store.renew(max_ttl=nanoseconds(place.ttl or 0))
        if above:
            await Floor.lift(store, above)
        longest = seconds((await store.sessions()).max_ttl)
    count = {0: "no session was open", 1: "1 session was ended"}.get(ended, f"{ended} sessions were ended")
    return (
        f"{without_secrets(place.url)} has a new identity; {count}. Nothing is granted until an instance has watched it"
        f" for {longest:g} s."
    )
