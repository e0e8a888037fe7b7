"""A database beside the store: what runs a ledger's functions, each in a transaction of its own, under a deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection, Dialect

    from locum.databases.statement import Statement

__all__ = ["Database", "Preparing", "wake_others", "wakes_others"]

T = TypeVar("T")
L_co = TypeVar("L_co", bound="Preparing", covariant=True)

_WAKES: Final = "locum_wakes"


class Preparing(Protocol):
    """A ledger: what is said to the database, in functions that each are one transaction's work."""

    def is_prepared(self, db: Connection) -> bool:
        """Whether what it needs is there.

        Raises:
            SchemaError: What is there needs a newer reader.
        """

    def prepare(self, db: Connection) -> None:
        """Make what is missing.

        Raises:
            SchemaError: What is there needs a newer reader.
        """


class Database(Protocol[L_co]):
    """A database."""

    @property
    def ledger(self) -> L_co:
        """What is said to it."""

    @property
    def dialect(self) -> Dialect:
        """How it is spoken to."""

    async def open(self) -> None:
        """Make what is missing.

        Raises:
            SchemaError: What is there needs a newer reader.
        """

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Do something in a transaction.

        Raises:
            StoreUnavailableError: It was not done.
            OutcomeUnknownError: It may have been.
        """

    async def ask(self, question: Callable[[Connection], T]) -> T:
        """Ask something by one statement, which needs no transaction.

        Raises:
            StoreUnavailableError: There was no answer.
        """

    async def tell(self, statement: Statement, values: Mapping[str, Any]) -> bool:
        """Change something by one statement, which commits by itself, and have others look if it did.

        Args:
            statement: Of `dialect`; what it changes it returns.
            values: Its values, by their names.

        Returns:
            Whether it has changed anything.

        Raises:
            StoreUnavailableError: It was not done.
            OutcomeUnknownError: It may have been.
        """

    async def listen(self, wake: Callable[[], object]) -> None:
        """Call something whenever an instance has something for others; it may end, and be called again.

        Raises:
            StoreUnavailableError: The database does not answer.
        """

    async def close(self) -> None:
        """Leave."""


def wake_others(db: Connection) -> None:
    """Have other instances look at once, when the transaction is committed: there is something for them."""
    db.info[_WAKES] = True


def wakes_others(info: dict[Any, Any]) -> bool:
    """Whether a transaction has something for others, by its connection's `info`; from then on it has not."""
    return bool(info.pop(_WAKES, False))
