"""What a store costs, and how soon another instance works on it, beside what the store itself needs at least."""

from __future__ import annotations

from typing import Final

__all__ = ["TOLD", "WRITE"]

WRITE: Final = "written"
TOLD: Final = "written, and heard of elsewhere"
