"""Whether an error says that a database is away, and not that the work is wrong; by name, for no driver is loaded."""

from __future__ import annotations

from typing import Final

__all__ = ["is_away"]

_NAMES: Final = frozenset(
    {
        # as PEP 249 calls them
        "OperationalError",
        "InterfaceError",
        # asyncpg's: lost, ended by its server, no room for us, on a standby, beaten by another transaction
        "PostgresConnectionError",
        "OperatorInterventionError",
        "InsufficientResourcesError",
        "ReadOnlySQLTransactionError",
        "TargetServerAttributeNotMatched",
        "TransactionRollbackError",
        # psycopg's name for a standby's refusal, and what SQLAlchemy's pool raises when it has nothing to lend
        "ReadOnlySqlTransaction",
        "TimeoutError",
    }
)
_SQLITE_ERROR: Final = 1  # a statement that is wrong, which sqlite3 calls operational like a file that is locked


def is_away(error: BaseException) -> bool:
    """Whether an error passes by itself: its database cannot be reached, ends, starts, or is another one by now.

    SQLAlchemy wraps what a driver raised, and for asyncpg that once more; what it wraps is looked at too.
    """
    if getattr(error, "connection_invalidated", False):
        return True
    driver = getattr(error, "orig", None)
    found = [one for one in (error, driver, getattr(driver, "__cause__", None)) if isinstance(one, BaseException)]
    if any(getattr(one, "sqlite_errorcode", None) == _SQLITE_ERROR for one in found):
        return False
    return any(isinstance(one, OSError) or not _NAMES.isdisjoint(_names(one)) for one in found)


def _names(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}
