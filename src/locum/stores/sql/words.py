"""What stands in the tables, in words and numbers; it loads no SQLAlchemy."""

from __future__ import annotations

from typing import Final

__all__ = ["LONGEST_KEY", "OPEN", "QUARANTINE", "SCHEMA"]

SCHEMA: Final = 1
"""The schema that this release writes, and the highest that it reads."""

OPEN: Final = "open"
QUARANTINE: Final = "quarantine"

LONGEST_KEY: Final = 1024
"""Characters: an index takes no longer ones."""
