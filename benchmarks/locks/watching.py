"""What the watchers share: how many are here, how often one more comes and goes, what is told. No library in it."""

from __future__ import annotations

import json
import os
import sys
import time

from benchmarks.locks.turns import STANDING

__all__ = ["Watching"]


class Watching:
    """The part of one process: the crowd, or the one that watches while another registration of its own comes and goes.

    Attributes:
        server: Where the server is: a port of 127.0.0.1, or a store's URL.
        scope: What the group is called.
        ttl: Seconds.
        members: How many registrations the crowd has.
        changes: How often one more joins and leaves.
        is_crowd: Whether this process is the crowd.
        calls: Counts of calls by name, if somebody counts them.
    """

    def __init__(self) -> None:
        self.server, self.scope = os.environ["BENCH_SERVER"], os.environ["BENCH_SCOPE"]
        self.ttl, self.members = float(os.environ["BENCH_TTL"]), int(os.environ["BENCH_MANY"])
        self.changes, self.is_crowd = int(os.environ["BENCH_CHANGES"]), bool(os.environ["BENCH_CROWD"])
        self.calls: dict[str, float] = {}
        self._told: list[tuple[float, float]] = []

    def stand(self) -> None:
        """Say that all are registered, or that all are seen, and wait for the word; a loop calls it in a thread."""
        sys.stdout.write(f"{STANDING}\n")
        sys.stdout.flush()
        sys.stdin.readline()

    @staticmethod
    def now() -> int:
        """The boot clock's time, in ns."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def note(self, joining: int, joined: int, leaving: int, left: int) -> None:
        """One has come and gone: when that began, and when the watcher had been told."""
        self._told.append(((joined - joining) / 1e6, (left - leaving) / 1e6))

    def tell(self) -> None:
        """Tell it all."""
        joins, leaves = ([each[place] for each in self._told] for place in (0, 1))
        sys.stdout.write(f"{json.dumps({'joins': joins, 'leaves': leaves, 'calls': self.calls})}\n")
        sys.stdout.flush()
