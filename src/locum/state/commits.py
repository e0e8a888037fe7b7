"""Group commit: what many transactions wish to commit at once is one record of the log.

One record is on its way at a time. What is not known of it is found out before anything else is sent: it is sent again
as it is, to the same place, until it has landed or the log has refused it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from locum.errors import NotPrimaryError, OutcomeUnknownError, StaleTermError, StoreError, StoreUnavailableError
from locum.scopes import Backoff, happens
from locum.state.idempotency import forgotten_for
from locum.state.log import Verdict
from locum.state.record import LogRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from locum.errors import StateError
    from locum.state.contents import Contents
    from locum.state.partition import Partition
    from locum.state.record import Change

__all__ = ["LIMIT", "Commit", "Commits"]

LIMIT: Final = 4.0
"""Seconds that a transaction waits: for each key, and for its commit."""
_NO_TURN: Final = "others were before it"
_TOGETHER: Final = 512  # transactions of one record
_CHANGES: Final = 4096  # of one record, but for a transaction that has more by itself


class Commit:
    """A transaction's wish to be committed.

    Attributes:
        changes: What it wrote; nothing if it has only read, and wants to know whether it read from the primary.
        is_awaited: Whether somebody still waits for it, so that it may be sent, or sent again.
        is_settled: Whether it is known what has become of it.
        error: Why it is not in the log, if it is not.

    Args:
        changes: What it wrote.
        at_end: Called when it is known what has become of it.
    """

    __slots__ = ("_at_end", "_waiting", "changes", "error", "is_awaited", "is_settled")

    def __init__(self, changes: Sequence[Change], at_end: Callable[[], object]) -> None:
        self.changes, self._at_end = changes, at_end
        self.is_awaited, self.is_settled = True, False
        self.error: Exception | None = None
        self._waiting: list[asyncio.Future[None]] = []

    def fail(self, why: Exception) -> None:
        """It is not in the log."""
        if not self.is_settled:
            self.error = why
            self.succeed()

    def succeed(self) -> None:
        """It is in the log, unless there is an error."""
        if not self.is_settled:
            self.is_settled = True
            self._at_end()
            for one in self._waiting:
                _wake(one)

    async def wait(self, timeout: float | None = None) -> None:
        """Wait until it is known what has become of it, or for so many seconds."""
        if self.is_settled:
            return
        loop = asyncio.get_running_loop()
        known: asyncio.Future[None] = loop.create_future()
        self._waiting.append(known)
        timer = None if timeout is None else loop.call_later(timeout, _wake, known)
        try:
            await known
        finally:
            if timer is not None:
                timer.cancel()


class Commits:
    """The one who writes a partition's log, for a term.

    Args:
        partition: The partition.
        token: Of the term.
        contents: What it holds, as of the end of its log.
        apply: Takes in a record that has landed.
        refused: Told when the log takes nothing more in: a later term is there, or it has lost what it had.
    """

    def __init__(
        self,
        partition: Partition,
        token: int,
        contents: Contents,
        *,
        apply: Callable[[LogRecord], object],
        refused: Callable[[StaleTermError | StateError], object],
    ) -> None:
        self._partition, self._token, self._contents = partition, token, contents
        self._apply, self._refused = apply, refused
        self._queue: deque[Commit] = deque()
        self._sent: list[Commit] = []
        self._wanted, self._may_grow, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._may_grow.set()
        self._idle.set()
        self._closed: Callable[[], NotPrimaryError] | None = None
        self._trouble = _NO_TURN
        self.unsettled: LogRecord | None = None
        """The record that is on its way, and of which nobody knows yet what has become of it."""

    # -- for transactions

    def begin(self, changes: Sequence[Change], at_end: Callable[[], object]) -> Commit:
        """Wish for a commit; or, without any changes, for the certainty that this is still the primary.

        Args:
            changes: What is to be written.
            at_end: Called when it is known what has become of it.

        Raises:
            NotPrimaryError: It is not.
        """
        if self._closed is not None:
            raise self._closed()
        commit = Commit(changes, at_end)
        self._queue.append(commit)
        self._wanted.set()
        return commit

    async def finish(self, commit: Commit, *, timeout: float) -> None:
        """Wait until it is known what has become of a commit.

        Raises:
            NotPrimaryError: It was not sent.
            StaleTermError: It was refused by the log.
            StoreUnavailableError: It was not sent in time, and will not be.
            OutcomeUnknownError: It was sent, and nothing is known in time.
        """
        try:
            await commit.wait(timeout)
        finally:
            commit.is_awaited = False
            if not commit.is_settled and commit in self._queue:
                self._queue.remove(commit)
                commit.fail(self._unsent())
        if not commit.is_settled:
            raise self._unknown(self._trouble) if commit.changes else self._unsent()
        if commit.error is not None:
            raise commit.error

    # -- for the state

    def let_grow(self, *, may: bool) -> None:
        """Whether the log may become longer: if not, transactions wait for the checkpoint."""
        if may or self._closed is not None:
            self._may_grow.set()
        else:
            self._may_grow.clear()

    def close(self, why: Callable[[], NotPrimaryError]) -> None:
        """Send nothing more; what is on its way is still asked after."""
        self._closed = why
        waiting, self._queue = self._queue, deque()
        for one in waiting:
            one.fail(why())
        self._may_grow.set()

    async def idle(self, *, within: float) -> bool:
        """Wait until nothing is on its way.

        Returns:
            Whether it came to that within so many seconds.
        """
        return await happens(self._idle.wait(), within=within)

    def give_up(self) -> None:
        """Tell who waits that nobody here will find out any more."""
        self.unsettled, sent, self._sent = None, self._sent, []
        for one in sent:
            one.fail(self._unknown("the state was closed before an answer came"))

    def settle(self, verdict: Verdict, highest: int) -> None:
        """Tell who waits what has become of the record that was sent last."""
        self.unsettled, sent, self._sent = None, self._sent, []
        for one in sent:
            if verdict is Verdict.LANDED:
                one.succeed()
            elif verdict in (Verdict.REFUSED, Verdict.PARTED):
                one.fail(self._refusal(verdict, highest))
            else:
                one.fail(self._unknown("its place in the log was truncated"))

    async def find_out(self) -> None:
        """Ask what has become of the record that was sent last, without sending it again, until it is known."""
        backoff = Backoff(0.05, 1.0)
        while self.unsettled is not None:
            try:
                fate = await self._partition.fate_of(self.unsettled)
            except StoreError as error:
                self._trouble = str(error)
            else:
                if fate.verdict is not Verdict.OPEN:  # while nobody has raised the fence it may still come
                    self.settle(fate.verdict, fate.highest)
            await asyncio.sleep(backoff.delay())

    async def run(self) -> None:
        """Send what is wished for, as long as there is a term."""
        backoff = Backoff(0.05, 1.0)
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._queue:
                await self._may_grow.wait()
                self._sent = self._next()
                if not self._sent:
                    break  # it was closed meanwhile
                self._idle.clear()
                try:
                    is_known = await (self._append() if any(one.changes for one in self._sent) else self._confirm())
                finally:
                    self._idle.set()
                if is_known:
                    backoff.reset()
                else:
                    self._put_back()
                    await asyncio.sleep(backoff.delay())

    # -- inside

    def _next(self) -> list[Commit]:
        """The next ones that go together."""
        together: list[Commit] = []
        room = _CHANGES
        while self._queue and len(together) < _TOGETHER and (not together or len(self._queue[0].changes) <= room):
            together.append(self._queue.popleft())
            room -= len(together[-1].changes)
        return together

    def _put_back(self) -> None:
        """They were certainly not sent: they wait again, for as long as they wish."""
        sent, self._sent = self._sent, []
        for one in reversed(sent):
            if self._closed is not None:
                one.fail(self._closed())
            elif not one.is_awaited:
                one.fail(self._unsent())
            else:
                self._queue.appendleft(one)

    async def _append(self) -> bool:
        """Append a record, and find out what has become of it, however long that takes.

        Returns:
            Whether that is known; if not, it was not sent.
        """
        changes = [change for one in self._sent for change in one.changes]
        changes += forgotten_for(changes, self._contents)
        record = LogRecord(self._contents.position + 1, self._token, tuple(changes))
        backoff, may_be_there = Backoff(0.02, 0.5), False
        self.unsettled = record
        while True:
            try:
                if await self._partition.append(record):
                    self._landed(record)
                    return True
                may_be_there = True  # an earlier answer may have been lost
                fate = await self._partition.fate_of(record)
            except StoreUnavailableError as error:
                self._trouble = error.why
                if not may_be_there:
                    self.unsettled = None
                    return False
            except OutcomeUnknownError as error:
                self._trouble, may_be_there = error.why, True
            else:
                if fate.verdict is Verdict.LANDED:
                    self._landed(record)
                    return True
                if fate.verdict is not Verdict.OPEN:
                    self.settle(fate.verdict, fate.highest)
                    self._refused(self._refusal(fate.verdict, fate.highest))
                    return True
            await asyncio.sleep(backoff.delay())

    async def _confirm(self) -> bool:
        """Find out whether nobody has raised the fence, and what was read is there."""
        try:
            highest, is_there = await self._partition.standing(self._contents.position)
        except StoreError as error:
            self._trouble = str(error)
            return False
        if highest == self._token and is_there:
            self.settle(Verdict.LANDED, highest)
            return True
        verdict = Verdict.REFUSED if highest != self._token else Verdict.PARTED
        self.settle(verdict, highest)
        self._refused(self._refusal(verdict, highest))
        return True

    def _landed(self, record: LogRecord) -> None:
        self._trouble = _NO_TURN
        self._apply(record)
        self.settle(Verdict.LANDED, self._token)

    def _unsent(self) -> StoreUnavailableError:
        return StoreUnavailableError(self._partition.store, f"nothing was sent to the log in time: {self._trouble}")

    def _unknown(self, why: str) -> OutcomeUnknownError:
        return OutcomeUnknownError(self._partition.store, f"a commit of {self._partition.name}", why)

    def _refusal(self, verdict: Verdict, highest: int) -> StaleTermError | NotPrimaryError:
        if verdict is Verdict.PARTED:
            why = "its log has lost what was committed, for its database was put back"
            return NotPrimaryError(self._partition.name, why)
        return StaleTermError(self._partition.scope, self._token, highest)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
