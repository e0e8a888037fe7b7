"""Errors are one tree, and a message says what happened, to what, and what to do next."""

from __future__ import annotations

import inspect

import pytest

from locum import errors
from locum.errors import (
    ConfigurationError,
    ConflictError,
    CoordinationError,
    CorruptRecordError,
    LocumError,
    MissingDriverError,
    OutcomeUnknownError,
    SchemaError,
    ServiceError,
    SessionClosedError,
    StaleTermError,
    StartError,
    StopTimeoutError,
    StoreError,
    StoreUnavailableError,
    TermEndedError,
    UnknownStoreError,
    WaitTimeoutError,
)

STORE = "sqlite:///billing.db"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            UnknownStoreError("mango", ["redis", "sqlite"]),
            ConfigurationError,
            "no store is known for 'mango': use one of redis, sqlite",
        ),
        (
            MissingDriverError("redis", "redis", "redis"),
            ConfigurationError,
            "the redis store needs 'redis': pip install 'locum[redis]'",
        ),
        (
            StoreUnavailableError(STORE, "it is locked"),
            StoreError,
            "the store sqlite:///billing.db is not available: it is locked",
        ),
        (
            ConflictError("grant/a", None),
            StoreError,
            "grant/a was not written: it was changed by another; read it again",
        ),
        (
            OutcomeUnknownError(STORE, "write"),
            StoreError,
            "write on sqlite:///billing.db may or may not have happened: no answer came in time; read again",
        ),
        (SessionClosedError("abc"), StoreError, "session abc is closed; open a new one"),
        (SessionClosedError("abc", "fell silent"), StoreError, "session abc is closed: fell silent; open a new one"),
        (
            CorruptRecordError("grant/a", "it is no grant"),
            StoreError,
            "the record grant/a is not readable: it is no grant; look at it, and delete it if nothing needs it",
        ),
        (
            SchemaError(STORE, 9, 1),
            StoreError,
            "the store sqlite:///billing.db needs a reader of schema 9, this release reads up to 1: upgrade locum here",
        ),
        (
            WaitTimeoutError("lock/a", 2.50),
            CoordinationError,
            "lock/a was not ours within 2.5 s; no place in line is left behind",
        ),
        (
            TermEndedError("election/a", 41, "lost its lease"),
            CoordinationError,
            "the term 41 in election/a is over: lost its lease; stop working under it",
        ),
        (
            StaleTermError("election/a", 41, 42),
            CoordinationError,
            "the fence of election/a refuses token 41: it has seen 42; roll back and stop working under it",
        ),
        (
            StaleTermError("election/a", 41, None),
            CoordinationError,
            "the fence of election/a refuses token 41: which it has not seen raised; roll back and stop working under"
            " it",
        ),
        (StartError("metrics", "KeyError: 'x'"), ServiceError, "metrics did not start: KeyError: 'x'"),
        (
            StopTimeoutError("metrics", 30.0),
            ServiceError,
            "metrics did not stop within 30 s",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_message_says_what_happened_and_what_to_do(error: LocumError, kind: type, message: str) -> None:
    assert str(error) == message
    assert isinstance(error, kind)
    assert isinstance(error, LocumError)


def test_a_wait_that_is_over_is_a_timeout_too() -> None:
    assert isinstance(WaitTimeoutError("lock/a", 1), TimeoutError)


def test_a_conflict_carries_the_current_record_and_says_why() -> None:
    refusal = ConflictError("a", "the record", "it exists already")
    assert (refusal.key, refusal.current) == ("a", "the record")
    assert str(refusal) == "a was not written: it exists already; read it again"


def test_every_error_is_public_below_the_root_and_told() -> None:
    found = {
        name: error
        for name, error in vars(errors).items()
        if inspect.isclass(error) and issubclass(error, BaseException)
    }
    assert set(found) == set(errors.__all__)
    for error in found.values():
        assert issubclass(error, LocumError)
        assert error.__doc__
        assert error.__name__ in (errors.__doc__ or ""), "the tree at the head of the module shows it"


def test_nothing_is_lost_on_the_way_through_a_traceback() -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        raise StoreUnavailableError(STORE, "why")
    assert (caught.value.store, caught.value.why) == (STORE, "why")
