"""`locum health`: whether the instance beside us is well, for probes that run a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from locum import exit_codes
from locum.clock import Clock, seconds
from locum.errors import ConfigurationError
from locum.host.settings import HEALTH_FILE_VARIABLE

__all__ = ["command"]


@click.command("health", short_help="Whether the instance on this machine is well, by its health file.")
@click.option(
    "--file", metavar="PATH", envvar=HEALTH_FILE_VARIABLE, help=f"Its health file; {HEALTH_FILE_VARIABLE} if not given."
)
@click.option(
    "--within", metavar="S", type=click.FloatRange(min=1), default=10, show_default=True, help="How old it may be."
)
@click.option("--ready", is_flag=True, help="Ask whether it is ready, and not only whether it is live.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(file: str | None, within: float, ready: bool, as_json: bool) -> int:
    """Tell whether the instance is live, by the file that it touches as long as it is.

    The exit code is 0 if it is, and 1 if not. It takes no connection, and asks no store.
    """
    if not file:
        raise ConfigurationError(f"no health file is named: give --file PATH, or set {HEALTH_FILE_VARIABLE}")
    reasons, picture = _judge(Path(file), within=within, ready=ready)
    if as_json:
        click.echo(json.dumps({"well": not reasons, "reasons": reasons, "picture": picture}))
    else:
        for reason in reasons or [f"{picture['instance']} is {'ready' if picture['ready'] else 'live'}"]:
            click.echo(f"{reason}.")
        rejected = picture.get("settings", {}).get("rejected")
        if rejected:
            click.echo(f"Its newest settings were not taken over, the last good ones stay: {rejected}")
    return exit_codes.SERVICE_FAILED if reasons else exit_codes.CLEAN


def _judge(file: Path, *, within: float, ready: bool) -> tuple[list[str], dict[str, Any]]:
    """Every reason why it is not well, and the picture as far as it can be read."""
    try:
        picture: dict[str, Any] = json.loads(file.read_text())
        age = seconds(Clock().now() - int(picture["at"]))
    except FileNotFoundError:
        return [f"{file} is not there: no instance has begun to write it, or it was stopped"], {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{file} cannot be read: {error}"], {}
    if not 0 <= age <= within:  # an instant of another boot may lie ahead
        return [f"{file} was last touched {age:.1f} s ago, and {within:g} s are the limit"], picture
    return (picture["reasons"] if ready else []), picture
