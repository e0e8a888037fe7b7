"""Scheduled jobs on one PostgreSQL: how late they fire, how many are drained a second, what they ask of the server."""

from __future__ import annotations

from typing import Final

__all__ = ["DRAINED", "IDLE", "KILLED", "LATE"]

DRAINED: Final = "drained, {} workers"
LATE: Final = "late, {:,} fires a second"
IDLE: Final = "idle, {:,} schedules"
KILLED: Final = "killed, and run again"
