"""Where the replicas of partitions are, and which of them is the primary: decided without I/O, with few moves.

The same input gives the same answer everywhere. Replicas that are there stay, primaries too, unless a move brings the
loads nearer to each other: to within one where all instances take alike.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from locum.coordination.assignment import quotas

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = ["place", "swaps"]


def place(before: Sequence[Collection[str]], instances: Collection[str], replicas: int) -> list[tuple[str, ...]]:
    """Which instances carry each partition.

    Args:
        before: For each partition the instances that carry it now, those first that are to stay there first.
        instances: The instances that are there.
        replicas: How many carry each; all, if there are fewer.

    Returns:
        For each partition different instances, as many as wanted and possible; what each carries differs by one at
        most. What is there already is moved only to reach that.
    """
    most = min(replicas, len(instances))
    sets = [list(dict.fromkeys(name for name in carried if name in instances))[:most] for carried in before]
    load = dict.fromkeys(sorted(instances), 0)
    for carried in sets:
        for name in carried:
            load[name] += 1
    for carried in sets:
        while len(carried) < most:
            name = min((one for one in load if one not in carried), key=lambda one: (load[one], one))
            carried.append(name)
            load[name] += 1
    _level(sets, load)
    return [tuple(carried) for carried in sets]


def _level(sets: list[list[str]], load: dict[str, int]) -> None:
    """Move replicas from those that carry too many to those that carry too few."""
    if not load:
        return
    room = quotas(sum(load.values()), dict.fromkeys(load, 1.0), load)
    while True:
        heavy = max(load, key=lambda one: (load[one] - room[one], one))
        light = min(load, key=lambda one: (load[one] - room[one], one))
        if load[heavy] <= room[heavy]:
            return
        # whoever carries more than another carries something that the other does not; what came last goes first
        carried = max((one for one in sets if heavy in one and light not in one), key=lambda one: one.index(heavy))
        carried.remove(heavy)
        carried.append(light)
        load[heavy] -= 1
        load[light] += 1


def swaps(
    carried: Sequence[Collection[str]], primaries: Sequence[str | None], *, order: Sequence[int] | None = None
) -> dict[int, str]:
    """Which primaries are to hand over to which other replica, so that the primaries are spread.

    Args:
        carried: For each partition the instances that can be its primary.
        primaries: For each partition the instance that is; `None` if none is.
        order: The partitions, those first that are rather moved than others; by index if none is given.

    Returns:
        By partition the next primary. With these moves no instance could be relieved any more by another move of one
        primary, or of several in a chain; none if that is so already.
    """
    now: list[str | None] = list(primaries)
    order = range(len(now)) if order is None else order
    load = {name: 0 for names in carried for name in names}
    for index, name in enumerate(now):
        if name in load and name in carried[index]:
            load[name] += 1
        else:
            now[index] = None
    while chain := _chain(carried, now, load, order):
        load[str(now[chain[0][0]])] -= 1
        load[chain[-1][1]] += 1
        for index, name in chain:
            now[index] = name
    return {
        index: name
        for index, name in enumerate(now)
        if name is not None and primaries[index] is not None and name != primaries[index]
    }


def _chain(
    carried: Sequence[Collection[str]], now: Sequence[str | None], load: Mapping[str, int], order: Sequence[int]
) -> list[tuple[int, str]]:
    """The shortest chain of moves from an instance to one that has at least two fewer: partition and next primary."""
    for heavy in sorted(load, key=lambda one: (-load[one], one)):
        came: dict[str, list[tuple[int, str]]] = {heavy: []}
        waiting = deque([heavy])
        while waiting:
            name = waiting.popleft()
            if load[name] <= load[heavy] - 2:
                return came[name]
            for index in order:
                if now[index] == name:
                    for other in sorted(carried[index]):
                        if other not in came:
                            came[other] = [*came[name], (index, other)]
                            waiting.append(other)
    return []
