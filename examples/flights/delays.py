"""How late the flights of a route are, and how sure that is: a bootstrap in plain Python, the same everywhere."""

from __future__ import annotations

import random
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RESAMPLES = 1000


def interval(route: str, delays: Sequence[float], resamples: int = RESAMPLES) -> tuple[float, float, float]:
    """The mean delay of a route, and the bounds within which it lies with 95 %."""
    chance = random.Random(route)
    means = sorted(sum(chance.choices(delays, k=len(delays))) / len(delays) for _ in range(resamples))
    return fmean(delays), means[round(0.025 * (resamples - 1))], means[round(0.975 * (resamples - 1))]


def intervals(
    routes: Mapping[str, Sequence[float]], names: Iterable[str], resamples: int = RESAMPLES
) -> dict[str, tuple[float, float, float]]:
    """The same of several routes."""
    return {name: interval(name, routes[name], resamples) for name in names}


def cut(routes: Mapping[str, Sequence[float]], slices: int) -> list[list[str]]:
    """Routes in so many parts, of about as many flights each; the largest first, for what comes last to be short."""
    parts: list[list[str]] = [[] for _ in range(slices)]
    sizes = [0] * slices
    for name in sorted(routes, key=lambda one: -len(routes[one])):
        least = min(range(slices), key=sizes.__getitem__)
        parts[least].append(name)
        sizes[least] += len(routes[name])
    filled = sorted(zip(sizes, parts, strict=True), key=lambda one: -one[0])
    return [part for _, part in filled if part]
