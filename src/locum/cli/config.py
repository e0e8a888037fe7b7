"""`locum config`: every setting, and where it comes from."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Final

import click

from locum import exit_codes
from locum.cli.settings import settings_options
from locum.cli.tables import Cell, Column, Table, show
from locum.cli.words import NOTHING, one_line

__all__ = ["command"]

_COLUMNS: Final = (Column("Setting"), Column("Value", wraps=True), Column("From", wraps=True))


@click.command("config", short_help="Every setting, and where it comes from.")
@click.argument("app", metavar="[MODULE:HOST]", required=False)
@click.option("--app", "named", metavar="MODULE:HOST", help="The same, as the other commands take it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@settings_options
def command(app: str | None, named: str | None, as_json: bool, environment: dict[str, str]) -> int:
    """Show each setting of the host that MODULE:HOST names, and which layer says so; secrets are hidden.

    The layers: code, file, environment file, environment, command line. It takes the options of `locum run`, so that
    what would be can be seen before it is.
    """
    os.environ.clear()
    os.environ.update(environment)
    from locum.cli.app import load_host

    if app and named and app != named:
        raise click.UsageError(f"two hosts are named, {app} and {named}: name one")
    host = load_host(app or named)
    values = host.plan.configuration.read().values
    if as_json:
        settings = [asdict(one) for one in values]
        click.echo(json.dumps({"namespace": host.name, "settings": settings}, indent=2, default=str))
        return exit_codes.CLEAN
    rows = [
        [Cell(one.key), Cell(NOTHING if one.value is None else one_line(str(one.value))), Cell(one.origin)]
        for one in values
    ]
    show(f"Settings of {host.name}", [Table(_COLUMNS, rows)], [])
    return exit_codes.CLEAN
