"""The entry point: finds the command and loads nothing else.

An error becomes one sentence and an exit code.
"""

from __future__ import annotations

import importlib
from typing import Final

import click

from locum import exit_codes
from locum.errors import ConfigurationError, LocumError, OutcomeUnknownError, SchemaError, StoreUnavailableError

__all__ = ["main"]

_COMMANDS: Final = (
    "run",
    "status",
    "health",
    "resign",
    "transfer",
    "revive",
    "journal",
    "lock",
    "nodes",
    "jobs",
    "fence-table",
    "doctor",
    "store",
    "config",
    "new",
    "demo",
)  # each a module beside this one (a dash is an underscore there), in order of need


class _Commands(click.Group):
    """The commands, each in a module that is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"locum.cli.{cmd_name.replace('-', '_')}").command
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="locum", message="locum %(version)s")
def _locum() -> None:
    """Run Python background services on many machines, with exactly one active."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command line.

    Args:
        arguments: What follows the program's name; the process's own if none are given.

    Returns:
        The exit code, as `locum.exit_codes` names it.
    """
    try:
        return _locum.main(arguments, prog_name="locum", standalone_mode=False) or exit_codes.CLEAN
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return exit_codes.forced_by(2)  # Ctrl-C
    except LocumError as error:
        click.echo(f"locum: {error}", err=True)
        return _code_of(error)


def _code_of(error: LocumError) -> int:
    if isinstance(error, (StoreUnavailableError, OutcomeUnknownError)):
        return exit_codes.STORE_UNAVAILABLE
    if isinstance(error, (ConfigurationError, SchemaError)):
        return exit_codes.BAD_CONFIGURATION
    return exit_codes.SERVICE_FAILED
