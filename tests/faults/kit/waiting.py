"""Waiting for a condition, with a deadline: the only pause in these tests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LONG", "pass_by", "until"]

LONG = 30.0
"""Seconds after which something that should take milliseconds has not happened; generous, for machines under load."""

T = TypeVar("T")


def until(condition: Callable[[], T | None], what: str, *, within: float = LONG, pause: float = 0.005) -> T:
    """Ask again and again until the answer is something.

    Args:
        condition: What is asked; an answer that is true ends the wait.
        what: What is waited for, for the message.
        within: Seconds.
        pause: Seconds between two questions.

    Returns:
        The answer.
    """
    end = time.monotonic() + within
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end, f"waited {within:g} s in vain for {what}"
        time.sleep(pause)


def pass_by(duration: float) -> None:
    """Let some seconds pass, for what must *not* happen in them, or to come at a random phase."""
    time.sleep(duration)
