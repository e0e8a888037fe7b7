"""Takeover and overlap: how soon another works after the active one was hurt, and whether two ever worked at once."""

from __future__ import annotations

from typing import Final

__all__ = ["FREEZE_ENDS_AFTER", "FROZEN", "KILLED", "KINDS", "RELEASED", "WATCHED"]

KILLED: Final = "killed"
RELEASED: Final = "released"
FROZEN: Final = "frozen"

KINDS: Final = {
    KILLED: "The active one is killed (SIGKILL)",
    RELEASED: "The active one leaves in peace (SIGTERM, or asked to resign)",
    FROZEN: "The active one is frozen (SIGSTOP) until another works, then goes on (SIGCONT)",
}
"""What is done to the active one, in the words of the report."""

FREEZE_ENDS_AFTER: Final = 0.5
"""Seconds that the successor works before the frozen one may go on."""

WATCHED: Final = {KILLED: 0.3, RELEASED: 0.3, FROZEN: 2.0}
"""Seconds for which the rows are watched after a takeover, or after the freeze has ended."""
