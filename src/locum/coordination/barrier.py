"""Barriers: some parties wait for each other, and go on together."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from locum.clock import seconds
from locum.coordination.grant import MOST_SHARES, Holder
from locum.errors import (
    ConfigurationError,
    ConflictError,
    CorruptRecordError,
    OutcomeUnknownError,
    SessionLostError,
    StoreError,
    WaitTimeoutError,
)
from locum.names import join, random_id
from locum.scopes import Backoff, happens
from locum.store import ABSENT
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Collection

    from locum.coordination.commons import Commons
    from locum.keeper.lease import Lease
    from locum.store import Record

__all__ = ["BARRIERS", "Barrier", "Muster"]

_log = logger("coordination.barrier")

BARRIERS: Final = "barrier/"
"""The prefix of all barriers."""


@dataclass(frozen=True, slots=True)
class Muster:
    """Who has arrived at a barrier, and who went on together last.

    Attributes:
        arrived: Those who wait.
        passed: The attempts of those who went on last: one whose answer was lost finds itself here.
    """

    arrived: tuple[Holder, ...] = ()
    passed: tuple[str, ...] = ()

    @classmethod
    def of(cls, record: Record | None) -> Muster:
        """What a record holds.

        Raises:
            CorruptRecordError: It holds something else.
        """
        if record is None:
            return cls()
        try:
            value = json.loads(record.value)
            return cls(tuple(Holder(**one) for one in value["arrived"]), tuple(map(str, value["passed"])))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRecordError(record.key, f"it is no barrier ({error!r})") from error

    def to_bytes(self) -> bytes:
        """As the store keeps it."""
        return json.dumps(asdict(self)).encode()

    def joined_by(self, party: Holder, *, parties: int, gone: Collection[str]) -> Muster:
        """After one more has arrived; the last one lets all go on, those whose sessions are gone do not count."""
        there = (*(one for one in self.arrived if one.session not in gone), party)
        if len(there) < parties:
            return Muster(there, self.passed)
        return Muster((), tuple(one.attempt for one in there))

    def without(self, attempt: str) -> Muster:
        """After one has left."""
        return replace(self, arrived=tuple(one for one in self.arrived if one.attempt != attempt))

    def awaits(self, attempt: str) -> bool:
        """Whether that one waits."""
        return any(one.attempt == attempt for one in self.arrived)


class Barrier:
    """So many parties wait for each other; when the last one arrives all go on, and the barrier stands again.

    Promises: nobody goes on before so many have arrived whose sessions lived; of one round, all go on.
    Assumes: all name the same number of parties.
    On loss: `wait` raises `SessionLostError`; whoever died before the last one arrived does not count.

    Args:
        commons: Whose session it runs under.
        name: The name of the barrier.
        parties: How many wait for each other, 1 to 160.

    Raises:
        ConfigurationError: There cannot be so many.
    """

    def __init__(self, commons: Commons, name: str, parties: int) -> None:
        if not 1 <= parties <= MOST_SHARES:
            raise ConfigurationError(
                f"a barrier for {parties} cannot be: all who wait stand in one record, which has room for 1 to"
                f" {MOST_SHARES}"
            )
        self.name, self.parties, self.scope = name, parties, join("barrier", name)
        self._commons, self._store, self._key = commons, commons.store, BARRIERS + name

    async def wait(self, *, timeout: float | None = None) -> None:
        """Arrive, and wait until all are there.

        Args:
            timeout: Seconds to wait; `None` waits for ever.

        Raises:
            WaitTimeoutError: They were not there in time; nobody waits for this party any more.
            SessionLostError: The session ended meanwhile.
        """
        self._commons.origin.check()
        lease = await self._commons.leases.lease()
        await self._commons.meet(lease)
        attempt = random_id()
        self._commons.attempts.add(attempt)
        limit = asyncio.timeout(timeout)
        async with self._store.changes([self._key]) as changes:
            # it cannot be taken back in its middle: whoever leaves looks first what became of it
            arriving = self._commons.settle(self._arrive(lease, attempt), f"arrive at {self.scope}")
            try:
                async with limit:
                    await asyncio.wait([arriving])
                    arriving.result()
                    while not await self._has_passed(lease, attempt):
                        await happens(anext(changes), within=seconds(lease.budget.beat))
            except BaseException as error:
                leaving = self._commons.settle(self._leave(lease, attempt, arriving), f"leave {self.scope}")
                if isinstance(error, TimeoutError) and limit.expired() and timeout is not None:
                    await asyncio.wait([leaving])
                    if leaving.result():
                        return  # the last one came just then: the others have gone on with us
                    raise WaitTimeoutError(self.scope, timeout) from None
                raise
        self._commons.attempts.discard(attempt)

    async def _has_passed(self, lease: Lease, attempt: str) -> bool:
        """Whether all have gone on, and this party with them."""
        self._check(lease)
        try:
            muster = Muster.of(await self._store.read(self._key))
            if muster.awaits(attempt):
                return False
            if attempt in muster.passed:
                return True
            # only those whose sessions are closed are dropped: if ours lives, its round is over for longer
            sessions = await self._store.sessions([lease.session])
        except StoreError as error:
            _log.debug("%s: %s", self.scope, error)
            return False
        if not sessions.by_id[lease.session].is_open:
            raise SessionLostError(f"the session ended at {self.scope}")
        return True

    async def _arrive(self, lease: Lease, attempt: str) -> None:
        me = Holder(lease.session, attempt, self._commons.instance, self._commons.clock.wall().isoformat())
        backoff, sent = Backoff(0.002, seconds(lease.budget.beat)), False
        while True:
            self._check(lease)
            try:
                record = await self._store.read(self._key)
                muster = Muster.of(record)
                if sent and (muster.awaits(attempt) or attempt in muster.passed):
                    return  # an earlier sending had landed
                sessions = await self._store.sessions([one.session for one in muster.arrived])
                gone = [status.id for status in sessions.by_id.values() if status.is_closed]
                if not sessions.quarantined:
                    sent = True
                    now = muster.joined_by(me, parties=self.parties, gone=gone)
                    guard = lease.session if self._store.guarantees().guarded_writes else None
                    await self._settle(record, now, guard, lease)
                    return
            except ConflictError:
                pass  # somebody else came or went, or it had landed: look again
            except StoreError as error:
                _log.debug("%s: %s", self.scope, error)
            await self._commons.clock.sleep(backoff.delay())

    async def _settle(self, record: Record | None, muster: Muster, guard: str | None, lease: Lease) -> None:
        """Write until an answer or a conflict tells: on one revision, a sending that was lost cannot land later."""
        backoff = Backoff(0.002, seconds(lease.budget.beat))
        while True:
            try:
                expect = ABSENT if record is None else record.revision
                await self._store.write(self._key, muster.to_bytes(), expect=expect, if_open=guard)
            except OutcomeUnknownError as error:
                _log.debug("%s: %s", self.scope, error)
                self._check(lease)
                await self._commons.clock.sleep(backoff.delay())
            else:
                return

    async def _leave(self, lease: Lease, attempt: str, arriving: asyncio.Task[None]) -> bool:
        """Wait for this party no more.

        Returns:
            Whether it had gone on with the others already.
        """
        backoff = Backoff(0.002, seconds(lease.budget.beat))
        await asyncio.wait([arriving])
        try:
            while not lease.is_lost:  # then it does not count
                try:
                    record = await self._store.read(self._key)
                    muster = Muster.of(record)
                    if record is None or not muster.awaits(attempt):
                        return attempt in muster.passed
                    await self._store.write(self._key, muster.without(attempt).to_bytes(), expect=record.revision)
                except StoreError as error:
                    _log.debug("%s: %s", self.scope, error)
                    await self._commons.clock.sleep(backoff.delay())
                else:
                    return False
            return False
        finally:
            self._commons.attempts.discard(attempt)

    def _check(self, lease: Lease) -> None:
        if lease.is_lost:
            raise SessionLostError(f"the session ended at {self.scope}: {lease.loss}")
