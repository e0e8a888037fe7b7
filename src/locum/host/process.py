"""What a process that runs a host does at its edges: how it logs, and how it leaves."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from locum import exit_codes
from locum.errors import ConfigurationError
from locum.telemetry import logger

if TYPE_CHECKING:
    from locum.errors import StartError

__all__ = ["leave", "log_to_console", "tell_failed_start"]

_log = logger("host")


def log_to_console() -> None:
    """Log to the console, unless the user has set logging up."""
    if not logging.getLogger().handlers:
        logging.basicConfig(
            level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr
        )
        logging.getLogger("locum").setLevel(logging.INFO)


def tell_failed_start(failure: StartError) -> int:
    """Say what did not start, why, and what went wrong while the others were stopped again; the exit code for it."""
    sentences = "\n".join([str(failure), *getattr(failure, "__notes__", [])])
    if isinstance(failure.__cause__, ConfigurationError):
        _log.error("%s", sentences)  # it says what to do: a stack would not
        return exit_codes.BAD_CONFIGURATION
    _log.error("%s", sentences, exc_info=failure.__cause__)
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
