"""The direction: hurts the active instance as planned, each time only when everything stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locum.clock import nanoseconds, seconds
from locum.demo.audit import takeovers
from locum.demo.injury import Injury, inflict, thaw
from locum.demo.plan import TTL, Kind, schedule
from locum.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.clock import Clock
    from locum.demo.cluster import Cluster, Victim
    from locum.demo.lineup import Lineup
    from locum.demo.verdict import Wanted
    from locum.demo.watch import Watch

__all__ = ["Direction"]

_PATIENCE: Final = 20.0  # s for a takeover, and for everything to stand again
_PATIENCE_FOR_ALL: Final = 6.0  # s until one that stands by is enough
_LOOK_EVERY: Final = 0.01  # s


class Direction:
    """Hurts the active instance, again and again.

    Args:
        wanted: How often.
        cluster: The instances.
        watch: What they write.
        lineup: Who stands by.
        clock: For times and pauses.
        tell: Called with a sentence for each thing that is done.
    """

    def __init__(
        self,
        wanted: Wanted,
        cluster: Cluster,
        watch: Watch,
        lineup: Lineup,
        clock: Clock,
        tell: Callable[[str], object],
    ) -> None:
        self._wanted, self._cluster, self._watch, self._lineup = wanted, cluster, watch, lineup
        self._clock, self._tell = clock, tell
        self.injuries: list[Injury] = []
        self.frozen = ""
        """The instance that is frozen now."""

    async def hurt(self, begun: int) -> str | None:
        """Do everything that is planned.

        Args:
            begun: The instant of the first order (boot clock, ns).

        Returns:
            Why it was given up; `None` if it was not.
        """
        for at, kind in schedule(self._wanted.kills, self._wanted.seconds):
            await self._clock.sleep(seconds(begun + nanoseconds(at) - self._clock.now()))
            objection = await self._hurt_once(kind)
            if objection is not None:
                return objection
        return None

    async def _hurt_once(self, kind: Kind) -> str | None:
        until = self._clock.now() + nanoseconds(_PATIENCE)
        while True:
            victim = await self._ready(until)
            if victim is None:
                return f"Within {_PATIENCE:g} s there was no active and another that stands by (before {kind.value})."
            try:
                injury = await inflict(kind, victim, clock=self._clock, lineup=self._lineup)
            except (ProcessLookupError, StoreError):
                victim.let_go()  # gone by itself, or the store was busy: once more
                continue
            break
        self.injuries.append(injury)
        self._tell(str(injury))
        try:
            return await self._see_takeover(injury, victim)
        finally:
            self._thaw(injury, victim)
            victim.let_go()

    async def _see_takeover(self, injury: Injury, victim: Victim) -> str | None:
        if injury.kind is Kind.FROZEN:
            self.frozen = injury.instance
        if not await self._until(self._is_taken_over, injury.at + nanoseconds(_PATIENCE)):
            return f"{injury} Nobody took over within {_PATIENCE:g} s."
        if injury.kind is Kind.FROZEN:
            await self._clock.sleep(seconds(injury.at + nanoseconds(2 * TTL) - self._clock.now()))
        return None

    def _thaw(self, injury: Injury, victim: Victim) -> None:
        if injury.kind is not Kind.FROZEN:
            return
        self.frozen = ""
        alive = " and ".join(thaw(victim))
        self._tell(
            f"{injury.instance}: {alive} go on (SIGCONT)."
            if alive
            else f"{injury.instance}: nothing was left to go on after {2 * TTL:g} s; the kernel had ended it in time."
        )

    def _is_taken_over(self) -> bool:
        return len(takeovers(self.injuries, self._watch.spans)) == len(self.injuries)

    async def _ready(self, until: int) -> Victim | None:
        """The active instance, once all others stand by, or at least one after a while."""
        all_until = self._clock.now() + nanoseconds(_PATIENCE_FOR_ALL)
        while (now := self._clock.now()) < until:
            in_line = await self._lineup.names()
            self._watch.look()
            row = self._watch.active
            victim = self._cluster.victim(row.pid, row.token) if row is not None else None
            if victim is not None:
                others = len(set(in_line) - {victim.instance})
                if others == len(self._cluster.names) - 1 or (others and now >= all_until):
                    return victim
                victim.let_go()
            await self._clock.sleep(_LOOK_EVERY)
        return None

    async def _until(self, happened: Callable[[], bool], until: int) -> bool:
        while not happened():
            if self._clock.now() >= until:
                return False
            await self._clock.sleep(_LOOK_EVERY)
            self._watch.look()
        return True
