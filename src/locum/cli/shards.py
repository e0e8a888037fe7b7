"""What `locum status shards` shows."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from locum.cli.looking import looking_at
from locum.cli.tables import Cell, Column, Table, is_terminal, show
from locum.cli.words import NOTHING, instant, one_line
from locum.clock import Clock
from locum.views.shards import read_shards

if TYPE_CHECKING:
    from datetime import datetime

    from locum.cli.looking import Place
    from locum.views.shards import ShardView

__all__ = ["show_shards"]

_COLUMNS: Final = (
    Column("Service", wraps=True),
    Column("Shard", right=True),
    Column("Owner", wraps=True),
    Column("Token", right=True),
    Column("Since"),
    Column("Moves", right=True),
    Column("Lag", right=True),
    Column("Reason", wraps=True),
)
_STYLES: Final = {"owned": "green", "failing": "yellow", "dead": "red", "free": "red"}


async def show_shards(place: Place, service: str | None, *, as_json: bool) -> None:
    """Print every shard of every service, or of one."""
    clock = Clock()
    async with looking_at(place, clock=clock) as store:
        shards = await read_shards(store, service)
        url, namespace = store.url, store.namespace
    if as_json:
        click.echo(json.dumps({"namespace": namespace, "store": url, "shards": [asdict(one) for one in shards]}))
        return
    now = clock.wall().astimezone() if is_terminal() else None
    tables = [Table(_COLUMNS, [_row(one, now) for one in shards])] if shards else []
    show(f"{namespace} on {url}", tables, _notes(shards))


def _row(one: ShardView, now: datetime | None) -> list[Cell]:
    who = one.owner if one.owner is not None else f"nobody ({one.state})"
    why = one.reason if not one.failures else f"{one.reason or one.trouble}; failed {one.failures} times in a row"
    return [
        Cell(one.service),
        Cell(str(one.index)),
        Cell(who, _STYLES.get(one.state, "")),
        Cell(str(one.token) if one.token else NOTHING),
        Cell(instant(one.since, now=now)),
        Cell(str(one.moves)),
        Cell(NOTHING if one.lag is None else f"{one.lag:g}"),
        Cell(one_line(why) or NOTHING),
    ]


def _notes(shards: tuple[ShardView, ...]) -> list[str]:
    """How many each instance has, and which ones nobody runs any more."""
    if not shards:
        return ["There are no shards: no sharded service has run here."]
    found = []
    for service in dict.fromkeys(one.service for one in shards):
        mine = [one for one in shards if one.service == service]
        counts = Counter(one.owner or "nobody" for one in mine)
        shares = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        found.append(f"{service}: {len(mine)} shards: {shares}.")
        found += [
            f"{service} {one.index} is dead: it {one_line(one.trouble)}. When that is mended: locum revive {service}"
            f" {one.index}"
            for one in mine
            if one.state == "dead"
        ]
    return found
