"""The beat: one session, kept alive by one task, counted from before each sending (R3, R4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from locum.clock import nanoseconds, seconds
from locum.errors import (
    ConflictError,
    OutcomeUnknownError,
    SessionClosedError,
    StoreReplacedError,
    StoreUnavailableError,
)
from locum.keeper.budget import Budget
from locum.keeper.owner import Ending
from locum.names import random_id
from locum.scopes import Backoff
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.clock import Clock
    from locum.keeper.owner import Owner
    from locum.store import Store

__all__ = ["Loss", "Session"]

_log = logger("keeper.session")


@dataclass(frozen=True, slots=True)
class Loss:
    """How a session was lost.

    Attributes:
        why: In words.
        certain: The store itself says that it is closed, or that somebody else beats: whoever works under it overlaps
            somebody now, and is killed at once (R3, R5). Otherwise its deadline has passed.
    """

    why: str
    certain: bool


class Session:
    """One session, from its opening to its close; a lost one never lives again.

    Args:
        store: Where it lives.
        owner: Whose it is.
        ttl: The wanted TTL in nanoseconds.
        clock: Counts the lease.
        may_beat: Asked before each beat: whether the worker is alive and not stopped (R10).
        acknowledged: Told of each answered beat: the budget, and the instant before the sending.
    """

    def __init__(
        self,
        store: Store,
        owner: Owner,
        ttl: int,
        *,
        clock: Clock,
        may_beat: Callable[[], bool],
        acknowledged: Callable[[Budget, int], object],
    ) -> None:
        self.id = random_id()
        self.budget = Budget.of(ttl)
        self.incarnation = ""
        self._store, self.owner, self._clock = store, owner, clock
        self._may_beat, self._acknowledged = may_beat, acknowledged
        self._number = 0
        self._sent = 0
        self._told: Callable[[str], object] = lambda why: None

    async def open(self, *, told: Callable[[str], object]) -> None:
        """Open it, for as long as that takes; the lease counts from the first sending (R4).

        Args:
            told: Called with each reason why it is not open yet, and later why it is not closed yet.

        Raises:
            ConfigurationError: The store grants a TTL that cannot be kept (R30).
            StoreReplacedError: It is not the one that this process has worked with (R24).
        """
        self._told = told
        backoff = Backoff(0.05, seconds(self.budget.beat))
        self._sent = self._clock.now()
        while True:
            if self._clock.now() >= self.budget.kill_at(self._sent):
                # an id whose first sending is that old is worth nothing even if it lives; its silence closes it
                self.id, self._sent = random_id(), self._clock.now()
            try:
                info = await self._store.open_session(self.owner.to_bytes(), self.budget.ttl, self.id)
            except (StoreUnavailableError, OutcomeUnknownError) as error:
                told(str(error))
                await self._clock.sleep(backoff.delay())
                continue
            except SessionClosedError as error:
                told(str(error))  # we slept after an unanswered sending, and it was seen silent: nothing lived under it
                self.id, self._sent = random_id(), self._clock.now()
                continue
            self.budget = Budget.of(info.ttl)
            self.incarnation = info.incarnation
            if self._clock.now() >= self.budget.cancel_at(self._sent):
                told("the answer to its opening came too late")
                await self.close(Ending("was never used"), patience=self.budget.call_seconds)
                self.id, self._sent = random_id(), self._clock.now()
                continue
            return

    @property
    def sent(self) -> int:
        """The instant before the sending of the last answered beat; the opening is beat 0 (R4)."""
        return self._sent

    async def keep(self) -> Loss:
        """Beat until the session is lost."""
        beat, retry = seconds(self.budget.beat), Backoff(seconds(self.budget.beat) / 8, seconds(self.budget.beat) / 2)
        due = self._sent + self.budget.beat
        while True:
            await self._clock.sleep(seconds(due - self._clock.now()))
            now = self._clock.now()
            if now >= self.budget.kill_at(self._sent):
                return Loss(f"no answer from the store for {seconds(now - self._sent):.1f} s", certain=False)
            if not self._may_beat():
                due = now + self.budget.beat // 4
                continue
            # each sending has a number of its own, larger than any before; the clock's reading makes it readable (R3)
            self._number = max(self._number + 1, now)
            try:
                await self._store.beat(self.id, self._number)
            except StoreReplacedError as error:
                return Loss(str(error), certain=True)  # it knows nothing of us, and lets others work
            except SessionClosedError as error:
                return Loss(Ending.from_bytes(error.reason.encode()).why or "it was closed", certain=True)
            except ConflictError:
                return Loss("somebody else beats for it", certain=True)
            except (StoreUnavailableError, OutcomeUnknownError) as error:
                _log.debug("beat of %s: %s", self.id, error)
                due = self._clock.now() + round(retry.delay() * 1e9)
                continue
            retry.reset()
            if self._clock.now() >= self.budget.kill_at(self._sent):
                return Loss("the store's answer came after the deadline", certain=False)
            self._sent = now
            self._acknowledged(self.budget, now)
            due = now + round(beat * 1e9)

    async def close(
        self, ending: Ending, *, patience: float | None = None, hurried: Callable[[], bool] = lambda: True
    ) -> bool:
        """Close it, again and again until that is answered (R10).

        Args:
            ending: What its tombstone will say.
            patience: Seconds after which to leave it to the others, who will see it silent; `None` is never.
            hurried: Whether those seconds count yet; they begin when it first says so.

        Returns:
            Whether it is closed for certain.
        """
        backoff = Backoff(0.02, seconds(self.budget.beat))
        until: int | None = None
        while True:
            if until is None and patience is not None and hurried():
                until = self._clock.now() + nanoseconds(patience)
            try:
                await self._store.close_session(self.id, reason=ending.to_bytes())
            except (StoreUnavailableError, OutcomeUnknownError) as error:
                self._told(str(error))
                if until is not None and self._clock.now() >= until:
                    _log.warning("session %s was not closed: %s", self.id, error)
                    return False
                await self._clock.sleep(backoff.delay())
            except StoreReplacedError:
                return True  # no session lives on in another incarnation (R24)
            else:
                return True
