"""What is shown of partitions: each by itself, or, of a service that has many, what each instance leads."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from locum.cli.looking import looking_at
from locum.cli.tables import Cell, Column, Table, is_terminal, show
from locum.cli.words import NOTHING, instant, one_line, ranges
from locum.clock import Clock
from locum.views.partitions import read_partitions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from locum.cli.looking import Place
    from locum.views.partitions import PartitionView

__all__ = ["notes_on_partitions", "rows_of_partitions", "show_partitions", "table_of_partitions"]

_COLUMNS: Final = (
    Column("Service", wraps=True),
    Column("Partition", wraps=True),
    Column("Primary", wraps=True),
    Column("Token", right=True),
    Column("Since"),
    Column("Secondaries", wraps=True),
    Column("Records", right=True, least=90),
    Column("Lag", right=True, least=90),
)
_EACH: Final = 8
"""So many partitions of a service are shown one by one where there is more to be seen than them."""


async def show_partitions(place: Place, service: str | None, *, as_json: bool) -> None:
    """Print every partition of every service, or of one."""
    clock = Clock()
    async with looking_at(place, clock=clock) as store:
        found = await read_partitions(store, service)
        url, namespace = store.url, store.namespace
    if as_json:
        click.echo(json.dumps({"namespace": namespace, "store": url, "partitions": [asdict(one) for one in found]}))
        return
    now = clock.wall().astimezone() if is_terminal() else None
    rows = [_row(one, now) for one in found]
    said = notes_on_partitions(found) or (
        ["There are no partitions: no stateful service has run here."] if not rows else []
    )
    show(f"{namespace} on {url}", [Table(_COLUMNS, rows)] if rows else [], said)


def table_of_partitions(found: Sequence[PartitionView], now: datetime | None) -> Table:
    """All services' partitions, in as many rows as one can take in at a glance."""
    return Table(_COLUMNS, rows_of_partitions(found, now))


def rows_of_partitions(found: Sequence[PartitionView], now: datetime | None) -> list[list[Cell]]:
    """A row for each partition, or, of a service that has many, for each instance that leads some of them."""
    rows = []
    for service in dict.fromkeys(one.service for one in found):
        mine = [one for one in found if one.service == service]
        if len(mine) <= _EACH:
            rows += [_row(one, now) for one in mine]
            continue
        for primary in sorted({one.primary for one in mine}, key=lambda name: (name is not None, name)):
            rows.append(_rows_of(primary, [one for one in mine if one.primary == primary], now))
    return rows


def notes_on_partitions(found: Sequence[PartitionView], *, is_short: bool = False) -> list[str]:
    """What is not as it should be; and where each is shown, if many are shown together."""
    said = []
    for service in dict.fromkeys(one.service for one in found):
        mine = [one for one in found if one.service == service]
        if is_short and len(mine) > _EACH:
            said.append(f"{service} has {len(mine)} partitions: `locum status partitions {service}` shows each.")
        few = [one for one in mine if one.is_few]
        said += [f"{one.name}: {one_line(one.trouble)}" for one in mine if one.trouble]
        if few:
            which = f"partition{'' if len(few) == 1 else 's'} {_names(few)}"
            said.append(f"{service}: fewer than {few[0].least} replicas are ready of {which}.")
    return said


def _row(one: PartitionView, now: datetime | None) -> list[Cell]:
    lags = [other.lag for other in one.secondaries if other.lag is not None]
    secondaries = ", ".join(
        other.instance if other.is_ready else f"{other.instance} (joins)" for other in one.secondaries
    )
    return [
        Cell(one.service),
        Cell(one.partition),
        _primary(one),
        Cell(str(one.token) if one.token else NOTHING),
        Cell(instant(one.since, now=now)),
        Cell(secondaries or NOTHING, "" if secondaries else "dim"),
        Cell(NOTHING if one.position is None else str(one.position)),
        _lag(lags),
    ]


def _rows_of(primary: str | None, led: Sequence[PartitionView], now: datetime | None) -> list[Cell]:
    """What one instance leads, or nobody does, in one row."""
    others = Counter(other.instance for one in led for other in one.secondaries)
    lags = [other.lag for one in led for other in one.secondaries if other.lag is not None]
    positions = [one.position for one in led if one.position is not None]
    return [
        Cell(led[0].service),
        Cell(f"{len(led)}: {_names(led)}"),
        Cell(primary, "green") if primary is not None else Cell("nobody", "red"),
        Cell(NOTHING),
        Cell(instant(max(one.since for one in led), now=now)),
        Cell(", ".join(f"{name} {count}" for name, count in sorted(others.items())) or NOTHING),
        Cell(str(sum(positions)) if positions else NOTHING),
        _lag(lags),
    ]


def _primary(one: PartitionView) -> Cell:
    if one.primary is not None:
        return Cell(one.primary, "green")
    known = [f"was {one.previous}"] * bool(one.previous) + [f"left to {one.reserved}"] * bool(one.reserved)
    return Cell(f"nobody ({', '.join(known)})" if known else "nobody", "red")


def _lag(lags: Sequence[float]) -> Cell:
    """The longest one; in whole seconds, for more is not told."""
    if not lags:
        return Cell(NOTHING)
    return Cell(f"≤ {max(lags):g} s", "yellow" if max(lags) > 2 else "")


def _names(found: Sequence[PartitionView]) -> str:
    return ranges([one.partition for one in found])
