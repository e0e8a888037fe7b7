"""What a process that runs a host does at its edges: how it logs, and how it leaves."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from locum import exit_codes
from locum.errors import ConfigurationError
from locum.host.settings import LOG_KEYS
from locum.logs import log_to_console
from locum.telemetry import exc_info_of, logger

if TYPE_CHECKING:
    from locum.errors import StartError
    from locum.host.plan import Plan
    from locum.host.settings import Settings

__all__ = ["leave", "set_logging_up", "tell_failed_start"]

_log = logger("host")


def set_logging_up(plan: Plan, keeper: int) -> None:
    """Log as the settings say, after a reload too; where they are wrong, in the usual way, so that it can be told."""

    def set_up(settings: Settings) -> None:
        log_to_console(settings.log_format, settings.log_level, instance=settings.instance_under(keeper))

    plan.configuration.heed(LOG_KEYS, set_up)
    try:
        set_up(plan.configuration.read().settings)
    except ConfigurationError:
        log_to_console()


def tell_failed_start(failure: StartError) -> int:
    """Say what did not start, why, and what went wrong while the others were stopped again; the exit code for it."""
    sentences = "\n".join([str(failure), *getattr(failure, "__notes__", [])])
    if isinstance(failure.__cause__, ConfigurationError):
        _log.error("%s", sentences)  # it says what to do: a stack would not
        return exit_codes.BAD_CONFIGURATION
    _log.error("%s", sentences, exc_info=None if failure.__cause__ is None else exc_info_of(failure.__cause__))
    return exit_codes.SERVICE_FAILED


def leave(code: int) -> NoReturn:
    """End this process now; what the user's threads still do must not hold it."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # whoever read it is gone
    os._exit(code)
