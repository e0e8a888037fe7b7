"""What an instance and the process of a body say to each other: JSON, each with its length before it; and their errors.

It loads little: the process of a body that computes for a second should not load for another one.
"""

from __future__ import annotations

import asyncio
import json
import struct
from typing import TYPE_CHECKING, Any, Final

from locum.errors import StaleRunError, StaleTermError, TermEndedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import FileIO

__all__ = ["HEAD", "error_of", "frame", "length_of", "read", "words_of"]

_HEAD: Final = struct.Struct(">I")
HEAD: Final = _HEAD.size
_FIELDS: Final[dict[type[BaseException], tuple[str, ...]]] = {
    TermEndedError: ("scope", "token", "why"),
    StaleTermError: ("scope", "token", "highest"),
    StaleRunError: ("job", "token"),
    asyncio.CancelledError: (),  # it was asked to end, and is not done
}
"""The errors that mean something on the other side, and what each is built from."""


def frame(said: Mapping[str, Any]) -> bytes:
    """Something that is said, as bytes.

    Raises:
        TypeError: JSON cannot tell it.
        ValueError: JSON cannot tell it: a number that is none, or more than 4 GiB.
    """
    text = json.dumps(said, allow_nan=False).encode()
    if len(text) >= 1 << 32:
        raise ValueError(f"{len(text):,} bytes of JSON are more than can be said at once")
    return _HEAD.pack(len(text)) + text


def length_of(head: bytes) -> int:
    """How many bytes follow."""
    return int(_HEAD.unpack(head)[0])


def read(pipe: FileIO) -> dict[str, Any] | None:
    """What is said next; `None` if nobody says anything any more."""
    head = _exactly(HEAD, pipe)
    text = None if head is None else _exactly(length_of(head), pipe)
    return None if text is None else json.loads(text)


def _exactly(many: int, pipe: FileIO) -> bytes | None:
    """So many bytes of a pipe without a buffer: one with a buffer cannot be let go of while a thread reads it."""
    found = b""
    while len(found) < many:
        more = pipe.read(many - len(found))
        if not more:
            return None
        found += more
    return found


def words_of(error: BaseException) -> dict[str, Any]:
    """An error, as it is said."""
    fields = _FIELDS.get(type(error))
    return {
        "error": f"{type(error).__name__}: {error}",
        "is": "" if fields is None else type(error).__name__,
        "fields": [getattr(error, name) for name in fields or ()],
    }


def error_of(said: Mapping[str, Any]) -> BaseException | None:
    """The error that was said, if it is one that means something here."""
    kind = next((one for one in _FIELDS if one.__name__ == said["is"]), None)
    return None if kind is None else kind(*said["fields"])
