"""What is mounted where, from /proc/self/mountinfo."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mount", "mount_of", "mounts", "parsed"]


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount.

    Attributes:
        point: Where.
        kind: The file system's type.
        source: What is mounted.
        options: How it is mounted here, and how the file system itself.
        super_options: The latter alone.
    """

    point: str
    kind: str
    source: str
    options: tuple[str, ...] = ()
    super_options: tuple[str, ...] = ()


def mounts() -> list[Mount]:
    """All mounts that this process sees; a later one covers an earlier one."""
    return parsed(Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape"))


def parsed(text: str) -> list[Mount]:
    """The mounts of a mountinfo: `ID PARENT DEVICE ROOT POINT OPTIONS [FIELD...] - TYPE SOURCE SUPER_OPTIONS`."""
    found = []
    for line in text.splitlines():
        here, dash, there = line.partition(" - ")
        first, last = here.split(), there.split(" ")
        if not dash or len(first) < 6 or len(last) < 3:
            continue
        own = tuple(last[2].split(","))
        found.append(Mount(_plain(first[4]), last[0], _plain(last[1]), (*first[5].split(","), *own), own))
    return found


def mount_of(path: Path, table: list[Mount]) -> Mount | None:
    """The mount that a path (absolute, its links resolved) lies on."""
    holding = [mount for mount in table if path.is_relative_to(mount.point)]
    return max(reversed(holding), key=lambda mount: len(mount.point), default=None)


def _plain(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
