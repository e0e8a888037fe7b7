"""Idempotency keys: which transactions have been applied, and what they had to say.

They are items like others, in a dictionary that no user can name, in the order in which they came. The primary takes
the oldest out when it writes new ones, so that all replicas have the same ones.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from locum.state.record import KEYS, Change

if TYPE_CHECKING:
    from collections.abc import Iterable

    from locum.state.contents import Contents

__all__ = ["KEPT", "LONGEST", "forgotten_for"]

KEPT: Final = 100_000
"""How many keys a partition remembers: the last ones."""
LONGEST: Final = 200
"""Characters of a key."""


def forgotten_for(changes: Iterable[Change], contents: Contents) -> list[Change]:
    """What is forgotten when some changes come."""
    known = contents[KEYS].values
    too_many = len(known) + sum(change.dictionary == KEYS for change in changes) - KEPT
    return [Change(KEYS, key, None) for key in islice(known, max(0, too_many))]
