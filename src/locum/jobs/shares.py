"""How the places of an instance are shared among the jobs that could have them. Pure.

Nobody is turned out of a place that is taken, so what shall be there for others must be kept free for them beforehand.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Want", "kept_free", "shares"]

_KEPT: Final = 8  # of so many places one


@dataclass(frozen=True, slots=True)
class Want:
    """What one job could have.

    Attributes:
        going: How many of its runs and slices go here already.
        many: How many more could begin.
        is_cut: Whether these are slices.
    """

    going: int
    many: int
    is_cut: bool = False


def kept_free(places: int, *, is_alone: bool) -> int:
    """How many places are kept for jobs that have none here: an eighth, one at least; of one place, none.

    Args:
        places: How many the instance has.
        is_alone: Whether there is no other job.
    """
    return 0 if is_alone or places < 2 else max(1, places // _KEPT)


def shares(wants: Sequence[Want], *, room: int, kept: int) -> list[int]:
    """How many runs of each job begin: whoever has least here is next, and of these who has waited longest.

    The first run of a job may have any place; its others, and slices, leave some for the first ones of others.

    Args:
        wants: What each job could have, in the order of waiting.
        room: How many places are free.
        kept: How many of these are for jobs that have none.

    Returns:
        How many each has.
    """
    given = [0] * len(wants)
    line = [(want.going, number) for number, want in enumerate(wants) if want.many]
    heapq.heapify(line)
    while room > 0 and line:
        going, number = heapq.heappop(line)
        want = wants[number]
        if room <= kept and (going or want.is_cut):
            continue  # from here on it has only more, and there is only less room
        given[number] += 1
        room -= 1
        if given[number] < want.many:
            heapq.heappush(line, (going + 1, number))
    return given
