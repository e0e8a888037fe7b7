"""What stands in the tables, in words and numbers; it loads no SQLAlchemy."""

from __future__ import annotations

from typing import Final

__all__ = ["CLOSED", "LONGEST_KEY", "OPEN", "QUARANTINE", "SCHEMA"]

SCHEMA: Final = 1
"""The schema that this release writes, and the highest that it reads."""

OPEN: Final = "open"
QUARANTINE: Final = "quarantine"

LONGEST_KEY: Final = 1024
"""Characters: an index takes no longer ones."""

CLOSED: Final = b"was closed: the store has begun a new incarnation"
"""Why the sessions of an earlier incarnation are closed."""
