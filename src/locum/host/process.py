"""What a process that runs a host does at its edges: how it logs, and how it leaves."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from locum.errors import ConfigurationError
from locum.logs import log_to_console

if TYPE_CHECKING:
    from locum.host.plan import Plan

__all__ = ["leave", "set_logging_up"]


def set_logging_up(plan: Plan, keeper: int) -> None:
    """Log as the settings say; where they are wrong, in the usual way, so that this can be told."""
    try:
        settings = plan.configuration.read().settings
    except ConfigurationError:
        log_to_console()
    else:
        log_to_console(settings.log_format, settings.log_level, instance=settings.instance_under(keeper))


def leave(code: int) -> NoReturn:
    """End this process now; what the user's threads still do must not hold it."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # whoever read it is gone
    os._exit(code)
