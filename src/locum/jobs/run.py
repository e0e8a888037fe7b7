"""One run of a job, as its body sees it: a term whose token is the run's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from locum import blocking
from locum.coordination.term import Term
from locum.errors import ConfigurationError, OutcomeUnknownError, ScheduleError, StaleRunError, StoreUnavailableError
from locum.jobs.job import instant, reader_of
from locum.jobs.progress import Pace
from locum.jobs.steps import LiveRun
from locum.scopes import Backoff

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from locum.clock import Clock
    from locum.keeper.lease import Lease

__all__ = ["Run"]

T = TypeVar("T")


class Run(Term):
    """One execution of one run of a job.

    Promises: no two executions of a job's runs share a token, and a later execution's is higher; what this one writes
    under its token is refused once another has begun in its place. There is one record for each time of a job, and its
    body is run at least once.
    Assumes: the writes that matter carry the token (`transaction`, `fence`), or may be done twice for one `fire_at`.
    On loss: the body is cancelled; what ignores that is ended with its process before the run begins anew elsewhere.

    Attributes:
        id: The run's id; the same in each attempt.
        fire_at: The time for which it runs, whenever it does.
        attempt: The number of this execution, from 1.
        params: What the job's declaration, or whoever asked for this run, gave it.
        nonce: Empty for a scheduled time; otherwise what tells apart who asked.
        part: Which slice this is, from 0; `None` if it is none.
        parts: How many slices its run has; `None` if that is not cut.
    """

    facade: ClassVar[Callable[[Any], object]] = blocking.Run

    def __init__(
        self,
        claimed: LiveRun,
        checkpoint: str | None,
        *,
        namespace: str,
        instance: str,
        lease: Lease,
        clock: Clock,
        keep: Callable[[Run, str], Awaitable[bool]],
        results: Callable[[Run], Awaitable[list[str | None]]],
    ) -> None:
        scope = f"job/{claimed.job}/{claimed.slot}" + ("" if claimed.part is None else f".{claimed.part}")
        super().__init__(
            claimed.job,
            scope=scope,
            fence_name=f"{namespace}/{scope}",
            token=claimed.token,
            instance=instance,
            lease=lease,
            clock=clock,
            revision=0,
        )
        self.claimed, self.namespace, self.pace = claimed, namespace, Pace()
        self.id, self.attempt, self.nonce = claimed.id, claimed.attempt, claimed.nonce
        self.fire_at = instant(claimed.fire_at)
        self.params: dict[str, Any] = json.loads(claimed.params)
        self.failures = claimed.failures
        self._checkpoint = checkpoint
        self.part, self.parts = claimed.part, claimed.parts
        self._keep, self._results = keep, results

    @property
    def last_checkpoint(self) -> Any:
        """What an earlier attempt or run of this job kept last, or this one; `None` if none did."""
        return None if self._checkpoint is None else json.loads(self._checkpoint)

    def params_as(self, kind: type[T]) -> T:
        """The parameters, read as a type: a dataclass, or a model of pydantic.

        Raises:
            ScheduleError: They are not that.
        """
        try:
            read: T = reader_of(cast("Any", kind)).validate_python(self.params)
        except ValueError as error:
            raise ScheduleError(f"the params of {self.name} are no {kind.__name__}: {error}") from error
        return read

    async def results(self) -> list[Any]:
        """What the bodies of the slices have returned, in their order: for `on_complete`."""
        self.check()
        return [None if one is None else json.loads(one) for one in await self._results(self)]

    def progress(self, done: float, of: float | None = None, note: str = "") -> None:
        """Say how far it is, for people (`locum jobs show`, `locum status`), and that it goes on.

        It costs nothing: it is written down once a second at most, together with that of all runs here.

        Args:
            done: How much is done.
            of: Of how much; `None` if nobody knows.
            note: What it is about at this moment.

        Raises:
            ConfigurationError: These are no numbers of which one could be a part of the other.
        """
        self.beat()
        self.pace.reach(done, of, note, at=self._clock.now())

    async def checkpoint(self, value: Any) -> None:
        """Keep a value (of what JSON can tell, up to 64 KiB) for this job's later attempts and runs.

        What a slice keeps, only its own later attempts see.

        Raises:
            TermEndedError: The run is not ours any more.
            StaleRunError: The same, as the job database says.
            ConfigurationError: It is too large, or nothing that JSON can tell.
        """
        self.check()
        self.beat()
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"a checkpoint of {self.name} cannot be kept as JSON: {error}") from error
        if len(text) > 64 * 1024:
            raise ConfigurationError(f"a checkpoint of {self.name} has {len(text)} characters: 65,536 are the most")
        await self.keep(text)

    # -- for those who run the body

    @property
    def kept(self) -> str | None:
        """The last checkpoint, as JSON."""
        return self._checkpoint

    async def keep(self, text: str) -> None:
        """Keep a checkpoint that is JSON already.

        Raises:
            TermEndedError: The run is not ours any more.
            StaleRunError: The same, as the job database says.
        """
        if not await self._keep_until_answered(text):
            raise StaleRunError(self.name, self.token)
        self._checkpoint = text

    async def _keep_until_answered(self, text: str) -> bool:
        """The same value under the same token may be sent twice; the run's own end bounds it."""
        backoff = Backoff(0.05, 2.0)
        while True:
            try:
                return await self._keep(self, text)
            except (StoreUnavailableError, OutcomeUnknownError) as error:
                self.log.warning("a checkpoint is not kept yet: %s", error)
                await self.sleep(backoff.delay())
                self.check()
