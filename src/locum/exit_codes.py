"""What the exit codes of `locum` and of a worker mean.

69, 70, 75 and 78 are the codes of sysexits.h for the same cases.
"""

from __future__ import annotations

__all__ = [
    "BAD_CONFIGURATION",
    "CLEAN",
    "FENCED",
    "SERVICE_FAILED",
    "STORE_UNAVAILABLE",
    "USAGE",
    "WOULD_NOT_STOP",
    "forced_by",
]

CLEAN = 0
SERVICE_FAILED = 1
USAGE = 2
STORE_UNAVAILABLE = 69
"""A one-shot command could not reach the store."""
WOULD_NOT_STOP = 70
"""A service ignored its end for longer than its `stop_timeout`, and its worker was ended instead.

Where only the end of a term was asked for, the keeper starts a new worker; where that of the instance was, the instance
leaves with this code.
"""
FENCED = 75
"""A worker whose term was lost and whose body ended in time; its keeper starts a new one."""
BAD_CONFIGURATION = 78


def forced_by(signal_number: int) -> int:
    """The code of a process that a signal forced to leave; 137 where the kernel had to end the keeper itself."""
    return 128 + signal_number
