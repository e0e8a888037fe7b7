"""`locum run`: one instance, in this very process, or several under a small parent."""

from __future__ import annotations

import os
import sys

import click

from locum.cli.app import app_name
from locum.cli.settings import settings_options
from locum.host.host import instance_command
from locum.host.settings import INSTANCE_VARIABLE
from locum.identity import host_name
from locum.names import check_name

__all__ = ["command"]


@click.command("run", short_help="Run one instance (or several) of a host.")
@click.argument("app", metavar="[MODULE:HOST]", required=False)
@click.option("--name", metavar="NAME", help="The instance's name; the machine's name and the pid if not given.")
@click.option("--instances", metavar="N", type=click.IntRange(min=1), default=1, help="Run so many on this machine.")
@settings_options
def command(app: str | None, name: str | None, instances: int, environment: dict[str, str]) -> int:
    """Run an instance of the host that MODULE:HOST names, until it is told to stop.

    Without MODULE:HOST it is [tool.locum] app of the nearest pyproject.toml; without :HOST its name is `host`.
    """
    keeper = instance_command(app_name(app))
    if name is not None:
        environment[INSTANCE_VARIABLE] = check_name(name, what="the name of an instance")
    if instances == 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(keeper[0], keeper, environment)  # noqa: S606 - the pid stays, and the keeper has none of what we loaded
    from locum.cli.crew import Crew

    stem = name or host_name()
    names = [check_name(f"{stem}-{number}", what="the name of an instance") for number in range(1, instances + 1)]
    return Crew({one: {**environment, INSTANCE_VARIABLE: one} for one in names}, keeper).run()
