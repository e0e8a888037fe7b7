"""What was measured on: enough to judge the figures by, and nothing that names the machine."""

from __future__ import annotations

import os
import platform
import sqlite3
from pathlib import Path

__all__ = ["describe", "facts"]


def facts(folder: Path) -> dict[str, str | int | float]:
    """The machine, and what kind of file system a folder lies on."""
    return {
        "cores": os.cpu_count() or 0,
        "processor": _processor(),
        "memory GiB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": f"Linux {platform.release()}",
        "file system": _file_system(folder),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "load": round(os.getloadavg()[0], 2),
    }


def describe(found: dict[str, str | int | float]) -> str:
    """The facts in one line."""
    return (
        f"{found['cores']} cores ({found['processor']}), {found['memory GiB']} GiB, {found['kernel']},"
        f" {found['file system']}, Python {found['python']}, SQLite {found['sqlite']}, load {found['load']} before"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    """The kind of the mount that is nearest above a folder."""
    place, kind = Path("/"), "unknown"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, its_kind, *_ = line.split()
        if folder.resolve().is_relative_to(mounted) and Path(mounted).is_relative_to(place):
            place, kind = Path(mounted), its_kind
    return kind
