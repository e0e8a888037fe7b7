"""Locks: turns a second, how evenly they are shared out, how soon the next one holds; members: how soon one is told."""

from __future__ import annotations

from typing import Final

__all__ = ["ALONE", "EIGHT", "KINDS", "MANY", "WATCHED"]

ALONE: Final = "one process"
EIGHT: Final = "eight processes"
MANY: Final = "1,000 locks at once"
WATCHED: Final = "a watch of 1,000 members"

KINDS: Final = {
    ALONE: "One process takes and gives back one lock, again and again",
    EIGHT: "Eight processes take turns at one lock",
    MANY: "One process takes 1,000 locks, holds them all, and gives them back",
}
"""What is done, in the words of the report."""
