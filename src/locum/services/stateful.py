"""Stateful services: what users write of one, and the life of its objects, each a replica of a partition."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable  # in a signature that is read when the program runs
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from locum.coordination.partitions import Partitioning, singleton
from locum.coordination.term import Term
from locum.errors import OutcomeUnknownError, StaleTermError, StoreUnavailableError
from locum.scopes import Backoff, cancel_and_wait
from locum.services.asgi import AsgiListener
from locum.services.life import Life, ReliableService
from locum.services.listeners import Listening
from locum.services.road import Move, Step
from locum.state.role import Role
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.coordination.partitions import Partition
    from locum.state.state import State

__all__ = ["ReplicaLife", "StatefulService"]

_log = logger("services.stateful")


class StatefulService(ReliableService):
    """Keeps a state, in partitions: the primary of each writes, the secondaries follow and stand by.

    An object is one replica of one partition. It is opened, becomes a secondary, and the primary whenever it is its
    turn: then its listeners are made anew, its state is read to the end and writes are granted, and `run` begins.

    Attributes:
        partitions: How the state is divided; for good. `singleton()`, `named(...)` or `int64_range(...)`.
        replicas: How many instances carry each partition, if so many are there.
        least_replicas: Where fewer have caught up, log, health and status warn; nothing is refused: what is committed
            is in the database.
        join_delay: Seconds for which an instance that joins must have been there before it carries something.
        rebalance_delay: Seconds for which what an instance carried waits for its name to come back.
    """

    partitions: ClassVar[Partitioning] = singleton()
    replicas: ClassVar[int] = 3
    least_replicas: ClassVar[int] = 1
    join_delay: ClassVar[float] = 1.0
    rebalance_delay: ClassVar[float] = 0.0

    def run(self, term: Any) -> Awaitable[None] | None:
        """The work of the primary, if there is any beside what listens; again on each promotion.

        A return is fine; an error gives the partition up to another replica, and this one begins anew.

        Args:
            term: A `Term` of being this partition's primary. Writes are granted, and revoked before it is cancelled.
        """
        del term
        return None

    async def on_change_role(self, role: Role) -> None:
        """It has another role from now on."""

    async def on_data_loss(self) -> None:
        """It is the primary of a state that has less than it had: its database was put back."""

    @property
    def state(self) -> State:
        """Its state: written by the primary, read by all."""
        return self._stateful_life().state

    @property
    def partition(self) -> Partition:
        """Which part of the service it is."""
        return self._stateful_life().partition

    @property
    def role(self) -> Role:
        """What it is."""
        return self._stateful_life().role

    def _stateful_life(self) -> ReplicaLife:
        if not isinstance(self._life, ReplicaLife):
            raise RuntimeError(f"{type(self).__name__} lives in no host: add its class to one")
        return self._life


class ReplicaLife(Life):
    """The life of one object of a stateful service.

    Args:
        service: The object.
        state: The state that it has.
        partition: Which part of the service.
        lift: Told of a token that the log has seen, so that the next one is higher (R20).
        circumstances: As for every life.
    """

    def __init__(
        self,
        service: StatefulService,
        state: State,
        partition: Partition,
        *,
        lift: Callable[[int], Awaitable[None]],
        **circumstances: Any,
    ) -> None:
        super().__init__(service, service.run, **circumstances)
        self.role: Role = Role.NONE
        self.state, self.partition = state, partition
        self._stateful, self._lift, self._target = service, lift, Role.NONE
        self._promoting: asyncio.Task[None] | None = None
        self._ways |= {
            Step.OPEN_STATE: lambda _: self._until_done(state.open),
            Step.PROMOTE_STATE: lambda _: self._promoted(),
            Step.DEMOTE_STATE: lambda _: self._demote(),
            Step.CLOSE_STATE: lambda _: state.close(),
            Step.ON_CHANGE_ROLE: lambda _: self._change_role(),
        }

    async def up(self, move: Move) -> None:
        """Take it a way up."""
        self._target = Role.PRIMARY if move is Move.PROMOTE else Role.SECONDARY
        if move is Move.STAND_BY:
            self._load_listeners()
        elif move is Move.PROMOTE:  # beside the steps before its own, which wait for another database
            self._promoting = self._scope.spawn(self._promote(), name=f"promotion of {self.place}")
        await super().up(move)

    async def down(self, move: Move) -> None:
        """Take it a way down, to its end."""
        self._target = Role.SECONDARY if move in (Move.DEMOTE, Move.LOSE) else Role.NONE
        if self._promoting is not None:
            await cancel_and_wait(self._promoting)
        await super().down(move)
        self.role = self._target
        self._context = None

    def refused(self, error: Exception) -> None:
        """The log takes nothing more in from this term."""
        if not isinstance(self._context, Term):
            return
        if isinstance(error, StaleTermError):
            self._context.lose(f"was refused by its log: {error}")
        else:
            self._context.ask_to_resign(f"cannot write its log: {error}")

    # -- what its roles change

    def _load_listeners(self) -> None:
        """Nothing is to be loaded in a promotion."""
        for one in super()._wanted():
            if isinstance(one.listener, AsgiListener):
                one.listener.load()

    def _wanted(self) -> list[Listening]:
        return [one for one in super()._wanted() if one.on_secondary or self._target is Role.PRIMARY]

    def _term(self) -> Term | None:
        return self._context if isinstance(self._context, Term) else None

    def _goes_on(self) -> bool:
        return True  # its state is writable, whether its run has returned or not

    async def _revoke(self) -> None:
        self.state.revoke()

    # -- each step

    async def _promoted(self) -> None:
        """Writes are granted from here on, and whoever asks is served."""
        if self._promoting is not None:
            await asyncio.wait([self._promoting])
            self._promoting.result()
        self._listeners.are_ready()

    async def _promote(self) -> None:
        term = self._term()
        if term is None:
            raise RuntimeError(f"{self.place} is promoted under no term")
        try:
            await self._until_done(partial(self.state.promote, term.token))
        except StaleTermError as error:
            if error.highest is not None:
                await self._lift(error.highest)
            raise
        if self.state.promoted is not None and self.state.promoted.has_lost:
            await self._stateful.on_data_loss()

    async def _demote(self) -> None:
        if self.state.role is Role.PRIMARY:
            await self.state.demote()

    async def _change_role(self) -> None:
        self.role = self._target
        await self._stateful.on_change_role(self._target)

    async def _until_done(self, call: Callable[[], Awaitable[None]]) -> None:
        """Make a call again and again while its database is away."""
        pause = Backoff(0.02, 0.5)
        while True:
            try:
                await call()
                return
            except (StoreUnavailableError, OutcomeUnknownError) as error:
                _log.debug("%s waits for its database: %s", self.place, error)
                await self._surroundings.clock.sleep(pause.delay())
