"""Where a service stands: the stacks of its tasks, and of the threads that these wait for."""

from __future__ import annotations

import asyncio
import linecache
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from locum.threads import OwnThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

__all__ = ["SLOW_AFTER", "SlowEnd", "stacks_of", "tasks_of", "where"]

SLOW_AFTER: Final = 15.0
"""Seconds after which an end that takes its time is told of, and again after each so many more."""
_OURS: Final = str(Path(__file__).parents[1])
_STDLIB: Final = sysconfig.get_path("stdlib")

Line = tuple[str, int, str]


def tasks_of(service: str) -> list[asyncio.Task[Any]]:
    """The tasks of a service, by the name of their scope; those that run its bodies come last, for they say most."""
    found = [task for task in asyncio.all_tasks() if task.get_name().startswith(f"{service}: ")]
    return sorted(found, key=lambda task: task.get_name().startswith((f"{service}: body", f"{service}: worker")))


def where(tasks: Sequence[asyncio.Task[Any]]) -> str:
    """The innermost line of the user's code in which the last of some tasks stands, in words."""
    lines = [line for task in tasks for line in _lines(task)]
    theirs = [line for line in lines if not line[0].startswith((_OURS, _STDLIB))]
    if not lines:
        return "nowhere that can be seen"
    file, number, function = (theirs or lines)[-1]
    code = linecache.getline(file, number).strip()
    return f"in {function} ({file}:{number}){': ' + code if code else ''}"


def stacks_of(tasks: Sequence[asyncio.Task[Any]]) -> str:
    """The stacks of some tasks, as text; where one waits for a thread, it goes on in that."""
    parts = []
    for task in tasks:
        lines = [(file, number, function, None) for file, number, function in _lines(task)]
        parts.append(f"{task.get_name()}:\n{''.join(traceback.StackSummary.from_list(lines).format())}".rstrip())
    return "\n".join(parts)


class SlowEnd:
    """Tells, every 15 s, that something has not ended yet, and where it stands.

    Args:
        tell: Called with the seconds that have passed.
    """

    def __init__(self, tell: Callable[[float], object]) -> None:
        self._tell, self._passed = tell, 0.0
        self._arm()

    def close(self) -> None:
        """Tell no more."""
        self._timer.cancel()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SLOW_AFTER, self._ring)

    def _ring(self) -> None:
        self._passed += SLOW_AFTER
        self._arm()
        self._tell(self._passed)


def _lines(task: asyncio.Task[Any]) -> list[Line]:
    return [(frame.f_code.co_filename, number, frame.f_code.co_qualname) for frame, number in _frames(task)]


def _frames(task: asyncio.Task[Any]) -> Iterator[tuple[FrameType, int]]:
    """From the outermost frame to the innermost, through everything awaited, and on into a thread."""
    thread: OwnThread | None = None
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = next((f for f in (getattr(awaited, f"{kind}_frame", None) for kind in ("cr", "gi", "ag")) if f), None)
        if frame is not None:
            yield frame, frame.f_lineno
            owner = frame.f_locals.get("self")
            thread = owner if isinstance(owner, OwnThread) else thread
        kinds = ("cr_await", "gi_yieldfrom", "ag_await")
        awaited = next((found for found in (getattr(awaited, kind, None) for kind in kinds) if found is not None), None)
    if thread is not None and thread.ident is not None:
        innermost = sys._current_frames().get(thread.ident)
        if innermost is not None:
            yield from reversed(list(traceback.walk_stack(innermost)))
