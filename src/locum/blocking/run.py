"""A run of a job, for code that blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from locum.blocking.contexts import Term

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Run"]


class Run(Term):
    """One execution of one run of a job, as a plain body sees it, in a thread or in a process of its own.

    Promises, assumes: as `locum.jobs.run.Run`.
    On loss: in a thread `check`, `sleep`, `every` and `checkpoint` raise `TermEndedError`; a process is killed.
    """

    _handle: Any  # a run of `locum.jobs`, which stands above this room

    @property
    def id(self) -> str:
        """The run's id; the same in each attempt."""
        return str(self._handle.id)

    @property
    def fire_at(self) -> datetime:
        """The time for which it runs, whenever it does."""
        return self._handle.fire_at  # type: ignore[no-any-return]

    @property
    def attempt(self) -> int:
        """The number of this execution, from 1."""
        return int(self._handle.attempt)

    @property
    def params(self) -> dict[str, Any]:
        """What the job's declaration, or whoever asked for this run, gave it."""
        return self._handle.params  # type: ignore[no-any-return]

    @property
    def nonce(self) -> str:
        """Empty for a scheduled time; otherwise what tells apart who asked."""
        return str(self._handle.nonce)

    @property
    def part(self) -> int | None:
        """Which slice this is, from 0; `None` if it is none."""
        return self._handle.part  # type: ignore[no-any-return]

    @property
    def parts(self) -> int | None:
        """How many slices its run has; `None` if that is not cut."""
        return self._handle.parts  # type: ignore[no-any-return]

    @property
    def last_checkpoint(self) -> Any:
        """What an earlier attempt or run of this job kept last, or this one; `None` if none did."""
        return self._handle.last_checkpoint

    def checkpoint(self, value: Any) -> None:
        """Keep a value for this job's later attempts and runs; see `locum.jobs.run.Run.checkpoint`.

        Raises:
            TermEndedError: The run is not ours any more.
            StaleRunError: The same, as the job database says.
            ConfigurationError: It is too large, or nothing that JSON can tell.
        """
        self._wait_for(self._handle.checkpoint, value)

    def progress(self, done: float, of: float | None = None, note: str = "") -> None:
        """Say how far it is, for people, and that it goes on; see `locum.jobs.run.Run.progress`."""
        self._handle.progress(done, of, note)
