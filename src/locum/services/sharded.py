"""Services whose work is divided: each instance owns some of the shards, and each shard has one owner."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable  # in a signature that is read when the program runs
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from locum import exit_codes
from locum.clock import nanoseconds, seconds
from locum.coordination.shard import ShardState
from locum.coordination.shards import Sharding
from locum.errors import StopTimeoutError, StoreError
from locum.scopes import Scope, cancel_and_wait, happens
from locum.service import Mode, ServiceHooks, grace_of
from locum.services.bodies import Body
from locum.services.supervised import Supervised
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
        body: Once it runs.
        why: Why it is to be given up; empty if it is not.
    """

    contest: ShardContest
    task: asyncio.Task[None] | None = None
    shard: Shard | None = None
    body: Body | None = None
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
        self._scope = Scope(name, on_error=self._on_error)
        self._own: dict[int, _Own] = {}
        self._part: Participation | None = None
        self._look: Look | None = None
        self._looked = asyncio.Event()
        self._stop_why: str | None = None
        self._asked_to_stop = asyncio.Event()
        self._stop_limit = stop_timeout
        self._has_lost = False
        self._taking_part: asyncio.Task[None] | None = None

    @property
    def owned(self) -> list[Shard]:
        """The shards that this instance has."""
        return [own.shard for own in self._own.values() if own.shard is not None]

    async def start(self) -> None:
        """Start it and take part."""
        await self._begin()
        self._taking_part = self._scope.spawn(self._take_part(), name="taking part")

    async def stop(self, why: str, *, within: float | None = None) -> None:
        """Leave: others plan for what is ours, and each shard is drained and given up."""
        self._surroundings.show(self.name, Mode.STOPPING)
        self._stop_limit = self.stop_timeout if within is None else within
        self._stop_why = why
        self._asked_to_stop.set()
        if self._part is not None and self.owned:
            # told first, so that each shard is awaited already when it is given up
            await happens(self._until_planned_away(self._part), within=min(_LEFT_WITHIN, self._stop_limit / 4))
        for own in list(self._own.values()):
            self._give_up_one(own, why)
        tasks = [own.task for own in self._own.values() if own.task is not None]
        if tasks:
            await asyncio.wait(tasks)
        if self._taking_part is not None:
            await cancel_and_wait(self._taking_part)
        for task in tasks:
            if not task.cancelled() and isinstance(error := task.exception(), StopTimeoutError):
                raise error

    def hurry(self) -> None:
        """Cancel the bodies now that are ending by themselves."""
        for own in self._own.values():
            if own.body is not None:
                own.body.hurry()

    async def close(self) -> None:
        """Close the service."""
        await self._scope.close()
        await self._close_hooks()

    # -- what is ours

    async def _take_part(self) -> None:
        async with self._shards.taking_part() as part:
            self._part = part
            self._surroundings.show(self.name, Mode.RUNNING)
            self._has_begun(None)
            telling = self._scope.spawn(self._tell_lags(), name="lags")
            try:
                await part.looks(self._heed)
            finally:
                telling.cancel()

    def _heed(self, look: Look) -> float | None:
        """Begin to claim what is ours, and give up what is another's; seconds until more may be ours."""
        self._look = look
        self._looked.set()
        if self._part is None or self._stop_why is not None:
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
            own.task = self._scope.spawn(self._have(index, own), name=f"shard {index}")
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
            if own.why:
                shard.ask_to_resign(own.why)
            if self._part is not None:
                self._part.look_again()  # there may be more to claim
            if own.contest.claim_of(shard).state.dead:  # it died while we stood in line
                await own.contest.resign(shard, "left it: it is dead")
            else:
                await self._hold(own, shard)
        except (StopTimeoutError, asyncio.CancelledError):
            raise
        except Exception as error:  # a registered database that is held or broken is no fault of the shard's
            own.shard, pause = None, self._restarts.pause()
            self._tell(error, pause)
            await self._surroundings.clock.sleep(pause)
        finally:
            del self._own[index]
            if self._part is not None:
                self._part.look_again()

    async def _hold(self, own: _Own, shard: Shard) -> None:
        """Work until it is over, and give it up (or abandon it)."""
        clock = self._surroundings.clock
        begun = clock.now()
        body = own.body = Body(self.name, self._surroundings.call(self._work, shard), scope=self._scope)
        over = self._scope.spawn(shard.over(), name=f"end of shard {shard.index}")
        await asyncio.wait([body.task, over], return_when=asyncio.FIRST_COMPLETED)
        ran, worked = seconds(clock.now() - begun), True
        if body.task.done() and not over.done() and body.error is None and not body.task.cancelled():
            worked = False
            own.contest.rest(shard)
            await asyncio.wait([over])
        over.cancel()
        if shard.is_lost:
            await self._end_lost(own, shard, body, worked=worked)
            return
        error = body.error
        if body.task.cancelled() and not own.why and shard.wish is None:
            error = RuntimeError("the body was cancelled, and not by Locum")
        if error is not None:
            await self._end_failed(own, shard, error, ran=ran)
            return
        await self._end_planned(own, shard, body, shard.wish or "resigned")

    async def _end_failed(self, own: _Own, shard: Shard, error: BaseException, *, ran: float) -> None:
        """It rests, whoever has it next; after one failure too many nobody runs it any more."""
        why = f"raised {type(error).__name__}: {error}"
        state = own.contest.claim_of(shard).state
        if ran >= self._resting.healthy_after:
            state = state.well()
        state = state.failed(why, most=self._resting.most)
        pause = None if state.dead else self._resting.pause(state.failures)
        _log.error("%s failed in shard %d", self.name, shard.index, exc_info=exc_info_of(error))
        self._surroundings.tell(
            ServiceFailed(instance=self._surroundings.instance, service=self.name, error=error, retry_in=pause)
        )
        await own.contest.resign_as(shard, why, state)

    async def _end_planned(self, own: _Own, shard: Shard, body: Body, why: str) -> None:
        """Asked, not current any more, cancelled, awaited; only then released."""
        limit = self._stop_limit
        shard.ask_to_stop(within=limit)
        grace = grace_of(limit) if shard.listens and not body.task.done() else 0.0
        if grace:
            forget = shard.lease.on_end(lambda _: body.hurry())
            shard.when_going_on(body.hurry)
            await body.ends_by_itself(within=grace)
            forget()
            if shard.is_lost:
                await self._end_lost(own, shard, body, worked=True)
                return
        shard.end(why)
        try:
            await body.end(timeout=limit - grace)
        except StopTimeoutError:
            await self._outlast(own, shard, body, StopTimeoutError(self.name, limit))
            return
        if body.error is not None:
            _log.error("%s failed while shard %d ended", self.name, shard.index, exc_info=exc_info_of(body.error))
        await own.contest.resign(shard, why)

    async def _end_lost(self, own: _Own, shard: Shard, body: Body, *, worked: bool) -> None:
        """The body is ended; if it had not completed, the process ends with it: nobody knows what it left running."""
        why = shard.ended or "lost its lease"
        if not self._has_lost:
            _log.warning("%s: %s %s; its work is cancelled.", self.name, shard.instance, why)
        try:
            # a keeper kills what ignores this, unless beats are answered again before 80 %
            await body.end(timeout=min(self.stop_timeout, seconds(shard.lease.budget.ttl)))
        except StopTimeoutError as error:
            await self._outlast(own, shard, body, error)
            return
        own.contest.abandon(shard)
        if worked and not self._has_lost:
            self._has_lost = True  # once for all shards of a session
            self._surroundings.fail(f"{self.name}: {why}", exit_codes.FENCED)

    async def _outlast(self, own: _Own, shard: Shard, body: Body, error: StopTimeoutError) -> None:
        """What would not end ends with its process; where that goes on, it counts as ended (R19)."""
        self._surroundings.fail(str(error), exit_codes.WOULD_NOT_STOP)
        if self._stop_why is not None:
            raise error
        own.contest.give_up(shard, str(error))
        _log.error("%s still runs in shard %d, and its writes are refused.", self.name, shard.index)
        self._surroundings.show(self.name, Mode.STUCK)
        asked = self._scope.spawn(self._asked_to_stop.wait(), name="stop")
        await asyncio.wait([body.task, asked], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not body.task.done():
            raise error
        self._surroundings.show(self.name, Mode.RUNNING)

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

    def _on_error(self, task: str, error: BaseException) -> None:
        if not isinstance(error, StopTimeoutError):
            _log.error("%s failed", task, exc_info=error)
            self._surroundings.fail(f"{task} failed: {error}", exit_codes.SERVICE_FAILED)
