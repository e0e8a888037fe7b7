"""Carrying the replicas of a stateful service that are planned for an instance, and handing over what is not."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final

from locum.clock import nanoseconds
from locum.coordination.replica_report import Report
from locum.errors import ConfigurationError, CoordinationError, StoreError, TransferRefusedError
from locum.floor import Floor
from locum.names import random_id
from locum.scopes import Backoff, Scope, cancel_and_wait, happens, told_by_result
from locum.service import Mode
from locum.services.listeners import Place
from locum.services.replica import Replica
from locum.services.stateful import ReplicaLife
from locum.services.supervised import Supervised
from locum.services.terms import Terms
from locum.state.role import Role
from locum.telemetry import exc_info_of, logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from locum.coordination.naming import Naming
    from locum.coordination.partitions import Partition
    from locum.coordination.plan import Look
    from locum.coordination.replicas import Replicas
    from locum.coordination.shards import Participation
    from locum.services.life import Limits
    from locum.services.stateful import StatefulService
    from locum.state.database import StateDatabase
    from locum.store import Store

__all__ = ["StatefulRunner"]

_log = logger("services.carrier")
_TIDY_AGAIN: Final = 0.5  # s, while something waits for another instance
_TELL_EVERY: Final = 2.0  # s


class StatefulRunner(Supervised):
    """Runs a stateful service: carries what is planned for this instance, and is the primary where it is its turn.

    Args:
        name: The service's name.
        build: Builds an object.
        replicas: What it takes part in.
        database: Opens the database of its states.
        store: Where the floor of tokens is.
        naming: Where addresses are published.
        limits: How long its ways may take.
        least: Fewer replicas of a partition than so many are told of.
        supervision: As for every runner; it is ready when it takes part.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[], Awaitable[StatefulService]],
        *,
        replicas: Replicas,
        database: Callable[[], Any],
        store: Store,
        naming: Naming,
        limits: Limits,
        least: int,
        stop_timeout: float,
        **supervision: Any,
    ) -> None:
        super().__init__(name, None, stop_timeout=stop_timeout, **supervision)
        self._build, self._replicas, self._store, self._naming = build, replicas, store, naming
        self._limits, self._least = limits, least
        self._terms = Terms(name, surroundings=self._surroundings, stop_timeout=stop_timeout)
        self._lives = Scope(name, on_error=told_by_result)
        self._open_database, self._stack = database, AsyncExitStack()
        self._database: StateDatabase | None = None
        self._carried: dict[int, tuple[Replica, asyncio.Task[None]]] = {}
        self._look: Look | None = None
        self._part: Participation | None = None
        self._untidy = asyncio.Event()
        self._wished_since: dict[tuple[int, str], int] = {}
        self._few_since: dict[int, int] = {}
        self._told_few = ""
        self._rests = self._has_left = False
        self._taking_part: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the database of its states, and take part.

        Raises:
            ConfigurationError: It is divided otherwise already, or there can be no such database.
        """
        await self._begin()
        await self._replicas.declare()
        self._database = await self._stack.enter_async_context(self._open_database())
        self._taking_part = self._terms.scope.spawn(self._take_part(), name="taking part")

    async def stop(self, why: str, *, within: float | None = None) -> None:
        """Leave: each replica is closed, the primaries by planned ends of their terms.

        Raises:
            StopTimeoutError: Work would not end.
            ExceptionGroup: What went wrong on the ways down.
        """
        self._surroundings.show(self.name, Mode.STOPPING)
        self._limits.stop = self.stop_timeout if within is None else within
        self._terms.ask_to_stop(within=self._limits.stop)
        if self._taking_part is not None:
            await cancel_and_wait(self._taking_part)
        tasks = []
        for replica, task in list(self._carried.values()):
            replica.leave(why)
            tasks.append(task)
        await self._terms.ended(tasks)
        errors = [task.exception() for task in tasks if not task.cancelled()]
        if found := [error for error in errors if isinstance(error, Exception)]:
            raise ExceptionGroup(f"{self.name} did not end as it should", found)

    def hurry(self) -> None:
        """Cancel the runs now that are ending by themselves."""
        self._terms.hurry()

    async def close(self) -> None:
        """Close the service."""
        await self._terms.scope.close()
        await self._lives.close()
        await self._stack.aclose()
        await self._close_hooks()

    # -- what is carried

    async def _take_part(self) -> None:
        async with self._replicas.taking_part() as part:
            self._part = part
            self._surroundings.show(self.name, Mode.RUNNING)
            self._has_begun(None)
            beside = [
                self._terms.scope.spawn(self._tidy(), name="tidying"),
                self._terms.scope.spawn(self._tell_replicas(), name="what is told"),
            ]
            try:
                await part.looks(self._heed)
            finally:
                for task in beside:
                    task.cancel()

    def _heed(self, look: Look) -> float | None:
        """Carry what is planned for us; what is not any more is seen to beside this."""
        self._look = look
        self._untidy.set()
        for partition, carriers in zip(
            self._replicas.partitioning.partitions, self._replicas.carriers(look), strict=True
        ):
            is_ours = self._surroundings.instance in carriers and self._gave_up is None
            if is_ours and partition.index not in self._carried:
                self._carry(partition)
        return None

    def _carry(self, partition: Partition) -> None:
        replica = Replica(
            lambda: self._make(partition),
            self._replicas.election(partition.index),
            terms=self._terms,
            scope=self._lives,
            clock=self._surroundings.clock,
            judge=self._rested,
            changed=self._has_changed,
        )

        async def carry() -> None:
            try:
                await replica.carry()
            except Exception as error:
                if self._terms.is_stopping:  # whoever stops it tells
                    raise
                _log.error("%s failed while it left", replica.election.name, exc_info=exc_info_of(error))
            finally:
                if not self._terms.is_stopping and self._part is not None:
                    del self._carried[partition.index]
                    self._part.look_again()  # it may be planned for us again by now

        task = self._lives.spawn(carry(), name=f"partition {partition.name}")
        self._carried[partition.index] = replica, task

    def _has_changed(self) -> None:
        """A replica has another role, or goes on after a rest."""
        if self._rests and not self._terms.is_stopping and self._gave_up is None:
            self._rests = False
            self._surroundings.show(self.name, Mode.RUNNING)
        self._untidy.set()

    def _rested(self, error: Exception, ran: float) -> float | None:
        """How long a replica rests that has failed; that its database is away is no failure of the service."""
        self._rests = True
        if not isinstance(error, StoreError):
            return self._judge(error, ran=ran)
        delay = self._restarts.pause()
        self._tell(error, delay)
        return delay

    async def _make(self, partition: Partition) -> ReplicaLife:
        from locum.services.served import ServedState  # loads what the database has loaded already

        if self._database is None:
            raise ConfigurationError(f"{self.name} has no database")
        service = await self._build()
        state = ServedState(self._database, self.name, partition.name, on_refused=lambda error: life.refused(error))
        life = ReplicaLife(
            service,
            state,
            partition,
            lift=lambda token: Floor.lift(self._store, token),
            place=Place(service=self.name, partition=partition.name, replica=random_id()[:12]),
            limits=self._limits,
            surroundings=self._surroundings,
            naming=self._naming,
            scope=self._lives,
        )
        return life

    # -- what is handed over

    async def _tidy(self) -> None:
        """Hand over what is planned for others, as soon as these have caught up, and leave what others carry."""
        pause = Backoff(_TIDY_AGAIN, 2 * _TIDY_AGAIN)
        waits = False
        while True:
            await happens(self._untidy.wait(), within=pause.delay() if waits else None)
            self._untidy.clear()
            try:
                waits = self._look is not None and await self._tidy_once(self._look)
            except StoreError as error:
                _log.debug("%s is not tidied: %s", self.name, error)
                waits = True

    async def _tidy_once(self, look: Look) -> bool:
        """See to all that is carried here; whether something waits for others."""
        me, waits = self._surroundings.instance, False
        if self._gave_up is not None and self._part is not None and not self._has_left:
            await self._part.leave()  # what is planned for one that carries nothing would be nobody's
            self._has_left = True
        carriers, swaps = self._replicas.carriers(look), self._replicas.swaps(look)
        wished = {}
        for partition in self._replicas.partitioning.partitions:
            index = partition.index
            if index not in self._carried:
                continue
            replica = self._carried[index][0]
            if me not in carriers[index] and carriers[index]:
                waits |= await self._leave(replica, partition, carriers[index])
            elif replica.term is not None and index in swaps:
                key = (index, swaps[index])
                wished[key] = self._wished_since.get(key, self._surroundings.clock.now())
                waits = True
                if self._surroundings.clock.now() - wished[key] >= nanoseconds(self._replicas.sharding.join_delay):
                    await self._hand_over(replica, swaps[index])
        self._wished_since = wished
        return await self._tell_of_few(look) or waits

    async def _leave(self, replica: Replica, partition: Partition, carriers: tuple[str, ...]) -> bool:
        """Leave what others are to carry, once these have caught up; whether that is waited for."""
        if replica.leaving:
            return False
        ready = [name for name in await self._replicas.standing_by(partition) if name in carriers]
        if replica.term is not None:
            if ready:
                await self._hand_over(replica, ready[0])
            return True
        holder = self._replicas.primaries(self._look)[partition.index] if self._look is not None else None
        if len(ready) + (holder in carriers) < len(carriers):
            return True
        replica.leave("is carried by others")
        return False

    async def _hand_over(self, replica: Replica, to: str) -> bool:
        """Leave a partition to another instance; whether that one could take it."""
        try:
            await replica.election.transfer(to=to)
        except TransferRefusedError as error:
            _log.debug("%s", error)
            return False
        return True

    # -- what is told

    async def _tell_of_few(self, look: Look) -> bool:
        """Tell where fewer replicas are ready than are to be at the least, once that has lasted; whether any are few.

        That is the primary's affair: so one instance tells of it.
        """
        if self._least <= 1:
            return False
        now, ready = self._surroundings.clock.now(), await self._replicas.ready(look)
        ours = [index for index, (replica, _) in self._carried.items() if replica.role is Role.PRIMARY]
        self._few_since = {index: self._few_since.get(index, now) for index in ours if len(ready[index]) < self._least}
        lasting = nanoseconds(self._replicas.sharding.join_delay)
        few = sorted(index for index, since in self._few_since.items() if now - since >= lasting)
        names = [self._replicas.partitioning.names[index] for index in few]
        told = f"{', '.join(names)}: fewer than {self._least} replicas are ready" if names else ""
        if told != self._told_few:
            self._told_few = told
            self._surroundings.warn(self.name, told)
            if told:
                _log.warning("%s: partition %s", self.name, told)
            else:
                _log.info("%s: at least %d replicas of each partition are ready again", self.name, self._least)
        return bool(self._few_since)

    async def _tell_replicas(self) -> None:
        """Tell where the replicas are: one write for all of them, and none while nothing changes."""
        told: tuple[str, Report] | None = None
        while True:
            await self._surroundings.clock.sleep(_TELL_EVERY)
            found = {index: replica.told for index, (replica, _) in self._carried.items()}
            replicas = {index: one for index, one in sorted(found.items()) if one is not None}
            report = Report(self._surroundings.instance, self._least, replicas)
            try:
                session = await self._replicas.session()
                if (session, report) != told:
                    await self._replicas.tell(report, session)
                    told = session, report
            except (StoreError, CoordinationError) as error:
                _log.debug("the replicas of %s are not told of: %s", self.name, error)
