"""`locum journal`: who was active in what, when, and why it ended."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from locum import exit_codes
from locum.cli.looking import looking_at, which_store
from locum.cli.tables import Cell, Column, Table, is_terminal, show
from locum.cli.words import NOTHING, instant, one_line
from locum.clock import Clock
from locum.scopes import run
from locum.views.journal import read_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from locum.cli.looking import Place
    from locum.journal import Entry
    from locum.views.journal import RunningTerm, ServiceJournal

__all__ = ["command"]

_COLUMNS: Final = (
    Column("Token", right=True),
    Column("Instance", wraps=True),
    Column("From"),
    Column("Until"),
    Column("How it ended", wraps=True),
)


@click.command("journal", short_help="Show who was active, when, and why it ended.")
@click.argument("service", required=False)
@which_store
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(service: str | None, place: Callable[[], Place], as_json: bool) -> int:
    """Show the last terms of SERVICE, or of all services, the newest last."""
    where = place()
    journals = run(_read(where, service))
    if as_json:
        click.echo(json.dumps({"namespace": where.namespace, "services": [asdict(one) for one in journals]}, indent=2))
        return exit_codes.CLEAN
    now = Clock().wall().astimezone() if is_terminal() else None
    said = [f"{one.name}: {one_line(trouble)}" for one in journals for trouble in one.troubles]
    if not journals:
        said.append(f"Nobody has been active in {service or 'anything'} yet.")
    show(f"Journal of {where.namespace}", [_table(one, now) for one in journals], said)
    return exit_codes.CLEAN


async def _read(place: Place, service: str | None) -> tuple[ServiceJournal, ...]:
    async with looking_at(place, clock=Clock()) as store:
        return await read_journal(store, service)


def _table(journal: ServiceJournal, now: datetime | None) -> Table:
    rows: list[Sequence[Cell]] = [_ended(one, now) for one in journal.entries]
    if journal.running is not None:
        rows.append(_running(journal.running, now))
    return Table(_COLUMNS, rows, title=journal.name)


def _ended(entry: Entry, now: datetime | None) -> list[Cell]:
    since, until = instant(entry.since, now=now), instant(entry.until, now=now)
    return [Cell(str(entry.token)), Cell(entry.instance), Cell(since), Cell(until), Cell(one_line(entry.why))]


def _running(term: RunningTerm, now: datetime | None) -> list[Cell]:
    texts = (str(term.token), term.instance, instant(term.since, now=now), NOTHING, "is active")
    return [Cell(text, "green") for text in texts]
