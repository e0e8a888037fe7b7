"""How things may be called, and how keys are made of names.

A key is segments joined by `/`; a segment is `[A-Za-z0-9][A-Za-z0-9._:-]{0,127}`. A *scope* is the name of one thing
that is coordinated, such as `election/settlement`.
"""

from __future__ import annotations

import random
import re

from locum.errors import ConfigurationError

__all__ = ["check_key", "check_name", "join", "random_id", "snake_case"]

source: random.Random = random.SystemRandom()
"""What ids are drawn from: the kernel's randomness, and in a simulation its seed's."""

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def check_name(name: str, *, what: str = "a name") -> str:
    """Return the name, or raise `ConfigurationError` if it cannot be one segment of a key."""
    if not isinstance(name, str) or not _SEGMENT.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} cannot be {what}: use 1 to 128 letters, digits, '.', '_', ':' or '-', beginning with a letter"
            " or digit"
        )
    return name


def check_key(key: str) -> str:
    """Return the key, or raise `ConfigurationError` if one of its segments is no name."""
    for segment in key.split("/"):
        check_name(segment, what=f"a segment of the key {key!r}")
    return key


def join(*segments: str) -> str:
    """A key made of segments."""
    return "/".join(segments)


def snake_case(name: str) -> str:
    """The name of a class as the name of a service: `GracePeriod` becomes `grace_period`."""
    return _WORD_START.sub("_", name).lower()


def random_id() -> str:
    """A random 128-bit id in hexadecimal digits (R1, R12)."""
    return f"{source.getrandbits(128):032x}"
