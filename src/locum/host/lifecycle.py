"""The order of starting and stopping: forwards, and back again; every step runs even if an earlier one failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from locum.errors import LocumError, StartError, StopTimeoutError
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locum.service import Runner

__all__ = ["start_all", "stop_all"]

_log = logger("host")


async def start_all(runners: Sequence[Runner]) -> None:
    """Start services in order.

    Raises:
        StartError: One did not start; those before it were stopped again. What went wrong then is attached as notes.
    """
    started: list[Runner] = []
    for runner in runners:
        try:
            started.append(runner)  # it may have taken something before it failed: it is closed too
            await runner.start()
        except Exception as error:
            failure = StartError(runner.name, f"{type(error).__name__}: {error}")
            for second in await stop_all(started, "was stopped, since the start failed"):
                failure.add_note(f"while stopping again: {second}")
            raise failure from error


async def stop_all(runners: Sequence[Runner], why: str) -> list[Exception]:
    """Stop and close services in reverse order.

    One that would not stop is not closed: its body still runs, and a close would wait for it without end.

    Returns:
        What went wrong; nothing of it kept another from being stopped.
    """
    errors: list[Exception] = []
    would_not_stop: list[Runner] = []
    for step in ("stop", "close"):
        for runner in reversed(runners):
            if runner in would_not_stop:
                continue
            try:
                await (runner.stop(why) if step == "stop" else runner.close())
            except Exception as error:
                errors.append(error)
                if isinstance(error, StopTimeoutError):
                    would_not_stop.append(runner)
                if not isinstance(error, LocumError):
                    _log.exception("%s failed in its %s", runner.name, step)
    return errors
