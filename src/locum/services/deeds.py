"""What one request has done to a state, for whoever answers it.

A web framework may answer 500 for an error before anybody else sees that, or keep the error to itself. So what becomes
of a request's transactions is noted where they end, and not where their errors come out.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from locum.errors import NotPrimaryError, OutcomeUnknownError, StaleTermError, StoreUnavailableError, WaitTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["REFUSALS", "Deeds", "current_deeds", "noting"]

REFUSALS: Final = (NotPrimaryError, StaleTermError, StoreUnavailableError, OutcomeUnknownError, WaitTimeoutError)
"""The errors that say what has become of a transaction that was not committed, or is not known to be."""


@dataclass(slots=True)
class Deeds:
    """What has become of a request's transactions so far.

    Attributes:
        may_be_done: Whether one of them is in a log, or may be.
        refused: What the last one that was begun was refused with; `None` if it was not.
    """

    may_be_done: bool = False
    refused: Exception | None = None

    def committed(self) -> None:
        """One has ended without an error."""
        self.may_be_done, self.refused = True, None

    def failed(self, error: Exception) -> None:
        """One has ended with this."""
        if isinstance(error, OutcomeUnknownError):
            self.may_be_done = True
        if isinstance(error, REFUSALS):
            self.refused = error


def current_deeds() -> Deeds | None:
    """What is noted of the request that runs here, in its tasks and its threads too; `None` outside of any."""
    return _current.get()


@contextmanager
def noting() -> Iterator[Deeds]:
    """A request runs in the block."""
    deeds = Deeds()
    token = _current.set(deeds)
    try:
        yield deeds
    finally:
        _current.reset(token)


_current: Final[ContextVar[Deeds | None]] = ContextVar("locum_deeds", default=None)
