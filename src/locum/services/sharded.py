"""Services whose work is divided: each instance owns some of the shards, and each shard has one owner."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable  # in a signature that is read when the program runs
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from locum.clock import nanoseconds, seconds
from locum.coordination.shard import ShardState
from locum.coordination.shards import Sharding
from locum.errors import StaleTermError, StopTimeoutError, StoreError
from locum.scopes import cancel_and_wait, happens
from locum.service import Mode, ServiceHooks
from locum.services.supervised import Supervised
from locum.services.terms import Duty, Terms
from locum.telemetry import ServiceFailed, exc_info_of, logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.coordination.plan import Look
    from locum.coordination.shard import Shard, ShardContest
    from locum.coordination.shards import Participation, Shards

__all__ = ["Resting", "ShardedRunner", "ShardedService", "sharding_of"]

_log = logger("services.sharded")
_AT_ONCE: Final = 32  # claims at the same moment: each is some calls, and the store has other things to do
_TELL_EVERY: Final = 2.0
_LEFT_WITHIN: Final = 1.0


class ShardedService(ServiceHooks):
    """Divides its work among all instances: `run_shard` runs once for each shard, on the one instance that owns it.

    Attributes:
        shards: How many there are; for good, since a key's shard depends on it.
        capacity: What this instance takes, in proportion to the others.
        join_delay: Seconds for which an instance that joins must have been there before shards move to it.
        rebalance_delay: Seconds for which the shards of an instance that went wait for its name to come back.
    """

    shards: ClassVar[int] = 64
    capacity: float = 1.0
    join_delay: ClassVar[float] = 1.0
    rebalance_delay: ClassVar[float] = 0.0

    def run_shard(self, shard: Any) -> Awaitable[None] | None:
        """The work of one shard; cancelled when it is given up or lost.

        A return keeps the shard, as completed; an error gives it up, and it is run again after a pause.

        Args:
            shard: A `Shard`; a `locum.blocking.Shard`, in a thread, where it is overridden by a plain `def`.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what it does: override run_shard(self, shard)")


def sharding_of(service: ShardedService | type[ShardedService]) -> Sharding:
    """How a service is sharded that is written as a class."""
    return Sharding(
        of=service.shards,
        capacity=service.capacity,
        join_delay=service.join_delay,
        rebalance_delay=service.rebalance_delay,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resting:
    """How long a shard rests that failed, and when nobody runs it any more.

    Attributes:
        first: Seconds after the first failure; each further one in a row takes twice as long.
        last: Seconds at most.
        most: How many failures in a row are followed by another run; after one more it is dead.
        healthy_after: Seconds of running after which failures are counted anew.
    """

    first: float = 0.5
    last: float = 30.0
    most: int = 10
    healthy_after: float = 60.0

    def pause(self, failures: int) -> float:
        """Seconds to rest after so many failures in a row."""
        return min(self.last, self.first * 2.0 ** min(failures - 1, 64)) if failures else 0.0


@dataclass(slots=True)
class _Own:
    """One shard that is ours, or is to be.

    Attributes:
        contest: What it has it from.
        task: Sees to it, from the claim to the release.
        shard: Once it is ours.
        why: Why it is to be given up; empty if it is not.
    """

    contest: ShardContest
    task: asyncio.Task[None] | None = None
    shard: Shard | None = None
    why: str = ""


class ShardedRunner(Supervised):
    """Runs a sharded service: owns what is planned for this instance, and gives up what is planned for another.

    Args:
        name: The service's name.
        body: Its body, called with a `Shard`.
        hooks: Its hooks; `None` for a function.
        shards: What it takes part in.
        resting: What becomes of a shard that fails.
        stop_timeout: Seconds that a shard may take to be given up.
        supervision: As for every runner; it is ready when it takes part, whatever its bodies say.
    """

    def __init__(
        self,
        name: str,
        body: Callable[..., object],
        hooks: ServiceHooks | None,
        *,
        shards: Shards,
        resting: Resting,
        stop_timeout: float,
        **supervision: Any,
    ) -> None:
        super().__init__(name, hooks, stop_timeout=stop_timeout, **supervision)
        self._work, self._shards, self._resting = body, shards, resting
        self._terms = Terms(name, surroundings=self._surroundings, stop_timeout=stop_timeout)
        self._own: dict[int, _Own] = {}
        self._part: Participation | None = None
        self._look: Look | None = None
        self._looked = asyncio.Event()
        self._taking_part: asyncio.Task[None] | None = None

    @property
    def owned(self) -> list[Shard]:
        """The shards that this instance has."""
        return [own.shard for own in self._own.values() if own.shard is not None]

    async def start(self) -> None:
        """Start it and take part."""
        await self._begin()
        self._taking_part = self._terms.scope.spawn(self._take_part(), name="taking part")

    async def stop(self, why: str, *, within: float | None = None) -> None:
        """Leave: others plan for what is ours, and each shard is drained and given up."""
        self._surroundings.show(self.name, Mode.STOPPING)
        limit = self.stop_timeout if within is None else within
        self._terms.ask_to_stop(within=limit)
        if self._part is not None and self.owned:
            # told first, so that each shard is awaited already when it is given up
            await happens(self._until_planned_away(self._part), within=min(_LEFT_WITHIN, limit / 4))
        for own in list(self._own.values()):
            self._give_up_one(own, why)
        tasks = [own.task for own in self._own.values() if own.task is not None]
        try:
            await self._terms.ended(tasks)
        finally:
            if self._taking_part is not None:
                await cancel_and_wait(self._taking_part)

    def hurry(self) -> None:
        """Cancel the bodies now that are ending by themselves."""
        self._terms.hurry()

    async def close(self) -> None:
        """Close the service."""
        await self._terms.scope.close()
        await self._close_hooks()

    # -- what is ours

    async def _take_part(self) -> None:
        async with self._shards.taking_part() as part:
            self._part = part
            self._show_running()
            self._has_begun(None)
            telling = self._terms.scope.spawn(self._tell_lags(), name="lags")
            try:
                await part.looks(self._heed)
            finally:
                telling.cancel()

    def _heed(self, look: Look) -> float | None:
        """Begin to claim what is ours, and give up what is another's; seconds until more may be ours."""
        self._look = look
        self._looked.set()
        if self._part is None or self._terms.is_stopping:
            return None
        clock, states = self._surroundings.clock, self._states(look)
        wish = self._part.wishing.wish(
            look,
            self._own.keys(),
            clock.now(),
            pauses={index: nanoseconds(self._resting.pause(state.failures)) for index, state in states.items()},
            dead=[index for index, state in states.items() if state.dead],
        )
        for index, owner in wish.shed.items():
            self._give_up_one(self._own[index], f"was given to {owner}")
        claiming = sum(own.shard is None for own in self._own.values())
        for index in wish.take[: max(0, _AT_ONCE - claiming)]:
            own = self._own[index] = _Own(self._shards.contest(index))
            own.task = self._terms.scope.spawn(self._have(index, own), name=f"shard {index}")
        return None if wish.again is None else seconds(wish.again)

    def _states(self, look: Look) -> dict[int, ShardState]:
        """What goes with the shards that are not ours and have failed."""
        found = {
            index: ShardState.of(grant.value)
            for index, grant in look.grants.items()
            if grant.holder is None and index not in self._own and grant.value is not None
        }
        return {index: state for index, state in found.items() if state.failures or state.dead}

    def _give_up_one(self, own: _Own, why: str) -> None:
        if own.why:
            return
        own.why = why
        if own.shard is not None:
            own.shard.ask_to_resign(why)
        elif own.task is not None:
            own.task.cancel()

    async def _until_planned_away(self, part: Participation) -> None:
        """Tell that we go, and wait until a plan does without us, if there is anybody else."""
        await part.leave()
        instance = self._surroundings.instance
        while True:
            self._looked.clear()
            look = self._look
            if look is None or not look.staying or self._shards.sharding.rebalance_delay:
                return
            if instance not in look.staying and instance not in look.plan.owners:
                return
            await self._looked.wait()

    async def _have(self, index: int, own: _Own) -> None:
        """One shard, from the claim to the release."""
        try:
            own.shard = shard = await own.contest.win()
            self._restarts.reset()
            if own.why:
                shard.ask_to_resign(own.why)
            if self._part is not None:
                self._part.look_again()  # there may be more to claim
            if own.contest.claim_of(shard).state.dead:  # it died while we stood in line
                await own.contest.resign(shard, "left it: it is dead")
            else:
                await self._work_on(own.contest, shard)
        except (StopTimeoutError, asyncio.CancelledError):
            raise
        except (
            Exception
        ) as error:  # a database that is held, broken, or knows of a higher token: no fault of the shard's
            own.shard, pause = None, self._restarts.pause()
            self._tell(error, pause)
            await self._terms.pause(pause)
        finally:
            del self._own[index]
            if self._part is not None:
                self._part.look_again()

    async def _work_on(self, contest: ShardContest, shard: Shard) -> None:
        """Work until it is over, and give it up (or abandon it)."""
        await self._terms.work(
            Duty(
                term=shard,
                source=contest,
                work=self._work,
                what=f"shard {shard.index} of {self.name}",
                on_failure=functools.partial(self._failed, contest, shard),
                on_late_end=self._show_running,
            )
        )

    def _show_running(self) -> None:
        if not self._terms.is_stuck:
            self._surroundings.show(self.name, Mode.RUNNING)

    async def _failed(self, contest: ShardContest, shard: Shard, why: str, error: BaseException, ran: float) -> None:
        """It rests, whoever has it next; after one failure too many nobody runs it any more."""
        if isinstance(error, StaleTermError):
            await contest.resign(shard, why)
            raise error
        state = contest.claim_of(shard).state
        if shard.has_progressed or ran >= self._resting.healthy_after:
            state = state.well()
        state = state.failed(why, most=self._resting.most)
        pause = None if state.dead else self._resting.pause(state.failures)
        _log.error("%s failed in shard %d", self.name, shard.index, exc_info=exc_info_of(error))
        self._surroundings.tell(
            ServiceFailed(instance=self._surroundings.instance, service=self.name, error=error, retry_in=pause)
        )
        await contest.resign_as(shard, why, state)

    # -- what is told

    async def _tell_lags(self) -> None:
        """Tell how far the shards are behind: one write for all of them, and none while nothing changes."""
        told: dict[int, float] = {}
        while True:
            await self._surroundings.clock.sleep(_TELL_EVERY)
            lags = {shard.index: shard.lag for shard in self.owned if shard.lag is not None}
            if lags == told:
                continue
            try:
                await self._shards.report(lags)
            except StoreError as error:
                _log.debug("the lags of %s are not told: %s", self.name, error)
            else:
                told = lags
