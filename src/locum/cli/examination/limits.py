"""The limits of this user and machine that an instance could run into."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Final

from locum.cli.examination.finding import Finding, Level, Said, check

__all__ = ["files", "findings", "inotify", "signals"]

_TIMERS: Final = 16  # queued signals: one a timer, and some for what else the user runs
_FILES: Final = 256
_FEW_FILES: Final = 64  # with fewer a keeper and its worker cannot even start


def findings() -> list[Finding]:
    """The limits."""
    return [_signals(), _files(), _inotify()]


@check("signals", "Timers and signals")
def _signals() -> Said:
    queued = next(
        line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("SigQ:")
    )
    limit, _ = resource.getrlimit(resource.RLIMIT_SIGPENDING)
    return signals(int(queued.partition("/")[0]), None if limit == resource.RLIM_INFINITY else limit)


def signals(used: int, limit: int | None) -> Said:
    """Whether a timer can be had: each counts as a queued signal of its user's."""
    if limit is None:
        return Said(Level.HOLDS, "as many as one likes (RLIMIT_SIGPENDING is unlimited)")
    free = max(0, limit - used)
    fact = f"{free} of {limit} free (RLIMIT_SIGPENDING)"
    if free == 0:
        return Said(Level.FAILS, fact, "raise it (ulimit -i, LimitSIGPENDING=): without it no kernel timer can be made")
    if free < _TIMERS:
        return Said(Level.WEAKER, fact, "raise it (ulimit -i, LimitSIGPENDING=): each instance needs one for its timer")
    return Said(Level.HOLDS, fact)


@check("files", "Open files")
def _files() -> Said:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return files(None if limit == resource.RLIM_INFINITY else limit)


def files(limit: int | None) -> Said:
    """Whether a process may open enough files."""
    if limit is None:
        return Said(Level.HOLDS, "as many as one likes (RLIMIT_NOFILE is unlimited)")
    fact = f"{limit} a process (RLIMIT_NOFILE)"
    if limit < _FEW_FILES:
        return Said(Level.FAILS, fact, f"raise it (ulimit -n, LimitNOFILE=) to {_FILES} or more")
    if limit < _FILES:
        return Said(Level.WEAKER, fact, f"raise it (ulimit -n, LimitNOFILE=) to {_FILES} or more")
    return Said(Level.HOLDS, fact)


@check("inotify", "File watches")
def _inotify() -> Said:
    folder = Path("/proc/sys/fs/inotify")
    return inotify(*(int((folder / f"max_user_{name}").read_text()) for name in ("instances", "watches")))


def inotify(instances: int, watches: int) -> Said:
    """Whether a SQLite store can be watched: two watches an instance, its keeper's and its worker's."""
    fact = f"{instances} watchers and {watches} watches a user (inotify)"
    if min(instances, watches) < 2:
        advice = "raise fs.inotify.max_user_instances and max_user_watches: a SQLite store is polled without them"
        return Said(Level.WEAKER, fact, advice)
    return Said(Level.HOLDS, fact)
