"""Locks: how many turns a second, how evenly they are shared out, and how soon the next one holds."""

from __future__ import annotations

from typing import Final

__all__ = ["ALONE", "EIGHT", "KINDS", "MANY"]

ALONE: Final = "one process"
EIGHT: Final = "eight processes"
MANY: Final = "1,000 locks at once"

KINDS: Final = {
    ALONE: "One process takes and gives back one lock, again and again",
    EIGHT: "Eight processes take turns at one lock",
    MANY: "One process takes 1,000 locks and holds them all",
}
"""What is done, in the words of the report."""
