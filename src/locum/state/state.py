"""The state of a partition, as one replica has it: it follows the log, and writes it while it is the primary."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from locum.clock import seconds
from locum.errors import NotPrimaryError, StaleTermError, StateError
from locum.names import check_name
from locum.scopes import Scope, cancel_and_wait
from locum.state.checkpointing import Checkpointing
from locum.state.commits import LIMIT, Commits
from locum.state.locks import Locks
from locum.state.partition import Partition
from locum.state.replica import Replica
from locum.state.role import Role
from locum.state.transaction import Transaction
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import TracebackType

    from locum.state.database import StateDatabase
    from locum.state.dictionary import ReliableDictionary
    from locum.state.record import LogRecord

__all__ = ["Opening", "Promotion", "Role", "State"]

_GRACE: Final = 1.0  # seconds that the end of a task may take
_log = logger("state")


@dataclass(frozen=True, slots=True)
class Opening:
    """What it took to open.

    Attributes:
        keys: How many keys there are.
        records: How many records of the log were read after the checkpoint.
        seconds: How long it took.
    """

    keys: int
    records: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Promotion:
    """What it took to become the primary.

    Attributes:
        token: Of the term.
        records: How many records of the log were read.
        seconds: How long it took.
        has_lost: Whether this replica had what the log has not any more: its database was put back.
    """

    token: int
    records: int
    seconds: float
    has_lost: bool


class State:
    """The state of a partition, as one replica has it.

    Promises: transactions that were committed without an error are read by every later primary; none of a replica that
    is not the primary any more is taken in by the log, whatever its process believes.
    Assumes: tokens of a partition's primaries only grow, and no two terms share one.
    On loss: `revoke` refuses transactions at once; what is on its way to the log is told by its answer.

    Attributes:
        role: What this replica is.
        token: Of its term; 0 if it is not the primary.
        opened: What opening it took.
        promoted: What the last promotion took.

    Args:
        database: Where it is kept.
        service: The service's name.
        partition: The partition's name.
        on_refused: Told, in the event loop, that a later term is there, or that the log cannot be written any more: the
            state has revoked itself, and the term is to end.
    """

    def __init__(
        self,
        database: StateDatabase,
        service: str,
        partition: str,
        *,
        on_refused: Callable[[StaleTermError | StateError], object] | None = None,
    ) -> None:
        check_name(service, what="a service")
        check_name(partition, what="a partition")
        self._database, self._clock = database, database.clock
        self._service, self._name = service, partition
        self._on_refused = on_refused
        self.role, self.token = Role.NONE, 0
        self.opened: Opening | None = None
        self.promoted: Promotion | None = None
        self._tasks = Scope(f"the state of {service}/{partition}", on_error=self._failed)
        self._partition: Partition
        self._replica: Replica
        self._checkpointing: Checkpointing
        self._locks = Locks()
        self._commits: Commits | None = None
        self._writing: asyncio.Task[None] | None = None
        self._is_revoked = False
        self._wish = 0  # counts revocations: a promotion that was overtaken by one is none

    # -- for users

    @property
    def is_writable(self) -> bool:
        """Whether transactions may be begun."""
        return not self._is_revoked and self.role is Role.PRIMARY

    @property
    def position(self) -> int:
        """Of the last record that is in what is read here."""
        return self._replica.position if self.role is not Role.NONE else 0

    @property
    def staleness(self) -> float:
        """Seconds: all that was acknowledged earlier than that is in what is read here."""
        if self.is_writable:
            return 0.0
        return self._replica.age if self.role is not Role.NONE else math.inf

    def dictionary(self, name: str) -> ReliableDictionary[Any]:
        """A dictionary of the partition, the same one for the same name.

        Raises:
            ConfigurationError: It is no name.
            StateError: The state is not open.
        """
        check_name(name, what="a dictionary")
        self._check_open()
        return self._replica.dictionary(name)

    @asynccontextmanager
    async def transaction(self, *, key: str | None = None, timeout: float = LIMIT) -> AsyncIterator[Transaction]:
        """A transaction, which is committed at the end of the block, or is nothing if that raises.

        Args:
            key: An idempotency key: of all transactions with the same one only the first is applied.
            timeout: Seconds to wait for each key, and for the commit.

        Raises:
            NotPrimaryError: This replica is not the primary; nothing was committed.
            StaleTermError: The log has refused it, for there is a later primary; nothing was committed.
            WaitTimeoutError: Others have had a key for too long; nothing was committed.
            StoreUnavailableError: It was not sent in time; nothing was committed.
            OutcomeUnknownError: It was sent, and it is not known in time what has become of it: see
                `Transaction.settled`, or repeat it with the same key.
        """
        if self._commits is None or not self.is_writable:
            raise self._not_primary()
        tx = Transaction(self._commits, self._locks, self._replica.contents, key=key, timeout=timeout)
        try:
            await tx.begin()
            yield tx
            await tx.commit()
        finally:
            tx.end()

    # -- for who has the roles

    async def open(self) -> None:
        """Load what the partition holds, and follow its log as a secondary.

        Raises:
            StoreUnavailableError: The database did not answer; it may be called again.
            OutcomeUnknownError: As above.
        """
        if self.role is not Role.NONE:
            raise StateError(f"{self._service}/{self._name} is open already")
        begun = self._clock.now()
        number = await self._database.number_of(self._service, self._name)
        self._partition = Partition(self._database.rows, self._service, self._name, number)
        self._checkpointing = Checkpointing(self._partition, let_grow=self._let_grow, refused=self._lost)
        self._replica = Replica(self._partition, self._clock, took=self._took)
        loaded = await self._replica.load()
        self.opened = Opening(len(self._replica.contents), len(loaded.records), seconds(self._clock.now() - begun))
        self.role = Role.SECONDARY
        self._tasks.spawn(self._checkpointing.run(), name="checkpoints")
        self._tasks.spawn(self._replica.mend(), name="mend")
        self._database.follow(self._replica)

    async def promote(self, token: int) -> None:
        """Become the primary: have the log refuse lower tokens, read it to its end, and write it from then on.

        Args:
            token: Of the grant; the same one may be tried again after an error.

        Raises:
            StaleTermError: The log has seen a higher one.
            NotPrimaryError: It was revoked meanwhile.
            StoreUnavailableError: The database did not answer.
            OutcomeUnknownError: As above.
        """
        if self.role is not Role.SECONDARY:
            raise StateError(f"{self._service}/{self._name} is {self.role.value}, and only a secondary is promoted")
        begun, wish = self._clock.now(), self._wish
        self._database.leave(self._replica)
        try:
            head = await self._partition.raise_fence(token)
            if head.token != token:
                raise StaleTermError(self._partition.scope, token, head.token)
            records = await self._replica.read_on()
            if wish != self._wish:
                raise self._not_primary()
        except BaseException:
            if self.role is Role.SECONDARY:  # it may have been closed meanwhile
                self._database.follow(self._replica)
            raise
        self._checkpointing.moved(head.checkpoint)
        self._begin(token)
        has_lost, self._replica.has_lost = self._replica.has_lost, False
        self.promoted = Promotion(token, records, seconds(self._clock.now() - begun), has_lost)

    def revoke(self) -> None:
        """Refuse transactions from this moment on; what is on its way to the log is told by its answer."""
        self._wish += 1
        if not self.is_writable:
            return
        self._is_revoked = True
        self._locks.close(self._not_primary)
        if self._commits is not None:
            self._commits.close(self._not_primary)

    async def demote(self) -> None:
        """Be a secondary again, once what is on its way to the log is known, or has not become so in time.

        Raises:
            StateError: It is not the primary.
        """
        if self.role is not Role.PRIMARY:
            raise StateError(f"{self._service}/{self._name} is {self.role.value}, and only a primary is demoted")
        self.revoke()
        await self._stop_writing(LIMIT)
        self.role, self.token, self._is_revoked = Role.SECONDARY, 0, False
        self._database.follow(self._replica)

    async def caught_up(self, position: int) -> None:
        """Wait until all up to a position is in what is read here: of the primary's, say."""
        self._check_open()
        await self._replica.reach(position)

    async def close(self) -> None:
        """Follow and write nothing more."""
        if self.role is Role.NONE:
            return
        self.revoke()
        self._database.leave(self._replica)
        await self._stop_writing(_GRACE)
        if self._commits is not None:
            self._commits.give_up()
        await self._tasks.close(timeout=_GRACE)
        self.role, self.token = Role.NONE, 0

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- inside

    def _begin(self, token: int) -> None:
        self._locks = Locks()
        self._commits = Commits(
            self._partition,
            token,
            self._replica.contents,
            apply=lambda record: self._replica.take([record]),
            refused=self._lost,
        )
        self.role, self.token, self._is_revoked = Role.PRIMARY, token, False
        self._checkpointing.write_for(token)
        self._writing = self._tasks.spawn(self._commits.run(), name="commits")

    async def _stop_writing(self, within: float) -> None:
        self._checkpointing.write_for(None)
        if self._commits is None or self._writing is None:
            return
        await self._commits.idle(within=within)
        await cancel_and_wait(self._writing, timeout=_GRACE)
        self._writing = None
        if self._commits.unsettled is not None:
            self._tasks.spawn(self._commits.find_out(), name="find out")

    def _took(self, records: Sequence[LogRecord], is_all: bool) -> None:
        if is_all:
            self._checkpointing.begin_anew(records)
        else:
            self._checkpointing.add(records)

    def _let_grow(self, may: bool) -> None:
        if self._commits is not None:
            self._commits.let_grow(may=may)

    def _lost(self, error: StaleTermError | StateError) -> None:
        """It is not for us to write any more."""
        self.revoke()
        if self._on_refused is not None:
            self._on_refused(error)

    def _failed(self, task: str, error: BaseException) -> None:
        _log.error("%s has failed", task, exc_info=error)
        self._lost(StateError(f"the state of {self._service}/{self._name} has failed: {error!r}"))

    def _not_primary(self) -> NotPrimaryError:
        why = "its term has ended" if self.role is Role.PRIMARY else f"it is {self.role.value}"
        return NotPrimaryError(f"{self._service}/{self._name}", why)

    def _check_open(self) -> None:
        if self.role is Role.NONE:
            raise StateError(f"the state of {self._service}/{self._name} is not open")
