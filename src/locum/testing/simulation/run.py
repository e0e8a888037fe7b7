"""One run: a seed, its cluster, its faults, their end, and the judgement."""

from __future__ import annotations

import gc
import logging
import random
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from locum import names
from locum.testing.simulation.checker import changes_of_term, violations
from locum.testing.simulation.cluster import Cluster
from locum.testing.simulation.faults import Faults
from locum.testing.simulation.loop import KERNEL, RestlessError
from locum.testing.simulation.rest import is_undivided, unrested
from locum.testing.simulation.servers import LOCK
from locum.testing.simulation.world import SCOPE

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Outcome", "simulate"]

_FAULTS_FOR: Final = 12
_SETTLE_WITHIN: Final = 8
_STEADY_FOR: Final = 2
_RECIPES_EVERY: Final = 8  # such a run costs more than twice as much as another
_SHARDS_AT: Final = 4  # of each sixteen
"""All in the longest TTL of the run."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one seed.

    Attributes:
        seed: The seed.
        violations: What must never be, each in a sentence.
        digest: Of the history.
        kinds: The kinds of faults.
        counts: Whether a fault struck and a term changed; otherwise the run proves nothing.
        changes: How often the term changed.
        turns: How often the lock was held, where the run has one.
        settled: TTLs from the healing until one was active for good; -1 if none was.
    """

    seed: int
    violations: tuple[str, ...]
    digest: str
    kinds: tuple[str, ...]
    counts: bool
    changes: int
    turns: int
    settled: float


def simulate(seed: int, *, trace: bool = False) -> Outcome:
    """Run one seed; the same seed gives the same history."""
    with _chance_of(seed) as chance:
        return _run(seed, chance, trace=trace)


def _run(seed: int, chance: random.Random, *, trace: bool) -> Outcome:
    is_divided = seed % (2 * _RECIPES_EVERY) == _SHARDS_AT
    world = Cluster(chance, recipes=seed % _RECIPES_EVERY == 0, shards=is_divided, trace=trace)
    found: list[str] = []
    end = _FAULTS_FOR * world.ttl
    faults = Faults(world, end)
    for instance in world.instances:
        world.loop.at(chance.randrange(world.ttl // 10), instance.start, context=KERNEL)
    try:
        world.loop.run_to(end)
        _come_to_rest(world)
    except RestlessError as error:
        found.append(f"it does not come to rest: {error}")
    settled = _settled(world, end)
    found += violations(world.history) + world.errors + _unsettled(world, settled)
    if not found:
        found += unrested(world)
    changes = changes_of_term(world.history)
    turns = sum(event.facts["scope"] == f"lock/{LOCK}" for event in world.history.of("began"))
    counts = faults.struck + world.network.struck > 0 and changes > 0
    digest = world.history.digest
    world.history.close()
    world.loop.discard()
    return Outcome(seed, tuple(found), digest, tuple(faults.kinds), counts, changes, turns, settled)


def _come_to_rest(world: Cluster) -> None:
    """Go on until the same one has been active for long enough and nobody waits, or the bound is over for that."""
    healed = world.loop.now
    last = healed + (_SETTLE_WITHIN + _STEADY_FOR) * world.ttl
    steady, since = [*world.active], healed
    while world.loop.now < min(last, max(since, _busy_at(world)) + _STEADY_FOR * world.ttl):
        world.loop.run_to(world.loop.now + world.ttl // 4)
        if len(steady) != 1 or world.active != steady:
            steady, since = [*world.active], world.loop.now


def _busy_at(world: Cluster) -> int:
    """The last instant at which somebody took the lock or waited for it, or shards moved, as far as that is known."""
    is_busy = any(not one.is_at_rest for one in world.recipes_alive) or (world.shards and is_undivided(world))
    return world.loop.now if is_busy else 0


def _settled(world: Cluster, healed: int) -> float:
    began = [event for event in world.history.of("began") if event.facts["scope"] == SCOPE]
    if len(world.active) != 1 or not began:
        return -1.0
    return max(0.0, (began[-1].at - healed) / world.ttl)


def _unsettled(world: Cluster, settled: float) -> list[str]:
    if settled < 0:
        return [f"not exactly one is active after the healing, but {len(world.active)}"]
    if settled > _SETTLE_WITHIN:
        return [f"it took {settled:.1f} TTLs after the healing until one was active"]
    return []


@contextmanager
def _chance_of(seed: int) -> Iterator[random.Random]:
    """All that is random comes from the seed, nothing is logged, and no garbage is collected meanwhile."""
    chance, source, state = random.Random(seed), names.source, random.getstate()  # noqa: S311 - that is what it is for
    hook, level = sys.unraisablehook, logging.root.manager.disable
    names.source = chance
    random.seed(seed)
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda unraisable: None  # what a dead process left unfinished is torn down in the end
    gc.disable()
    gc.freeze()  # what was there before is nothing of this run's: it is not looked through in the end
    try:
        yield chance
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            gc.collect()
        gc.unfreeze()
        gc.enable()
        sys.unraisablehook = hook
        logging.disable(level)
        random.setstate(state)
        names.source = source
