"""What a replica of a partition is."""

from __future__ import annotations

from enum import Enum

__all__ = ["Role"]


class Role(Enum):
    """What one replica of a partition is.

    Attributes:
        NONE: It is not part of the partition, or not yet, or not any more.
        SECONDARY: It follows what is written, and stands by.
        PRIMARY: It alone writes.
    """

    NONE = "none"
    SECONDARY = "secondary"
    PRIMARY = "primary"
