"""The store's own scripts: each call is one of them, and so one step."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["Script", "script"]

_FOLDER: Final = Path(__file__).with_name("scripts")


@dataclass(frozen=True, slots=True)
class Script:
    """One script.

    Attributes:
        text: All of it, with what stands before every script.
        sha: By what a server calls it that has seen it before.
    """

    text: bytes
    sha: bytes


@cache
def script(name: str) -> Script:
    """The script of a name."""
    text = b"\n".join(_FOLDER.joinpath(f"{part}.lua").read_bytes() for part in ("prelude", name))
    return Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest().encode())  # as Redis calls it
