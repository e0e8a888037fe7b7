"""Every error that Locum raises, as one tree.

LocumError
├── ConfigurationError     wrong before anything ran
│   ├── UnknownStoreError · MissingDriverError · UnsupportedError · ScheduleError
├── StoreError             something between us and the store
│   ├── StoreUnavailableError (NoStoreError; retryable) · ConflictError · OutcomeUnknownError · SessionClosedError
│   └── StoreReplacedError · CorruptRecordError · SchemaError
├── CoordinationError      the protocol says no
│   ├── SessionLostError · WaitTimeoutError · NotOurTurnError · HoldEndedError (TermEndedError) · StaleTermError
│   └── ForkedError · TransferRefusedError · NotActiveError · UnansweredError
├── ServiceError           a service of the user failed
│   └── StartError · StopTimeoutError · CrashLoopError · WorkQueueClosedError · WorkQueueFullError
├── StateError             the state of a partition
│   └── NotPrimaryError · LogGapError
└── JobError               a scheduled job, or one of its runs
    └── UnknownJobError · JobTimeoutError · JobProcessError · StaleRunError

A message says what happened, to what, and what to do next. Fields are typed, and the message is built from them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ConfigurationError",
    "ConflictError",
    "CoordinationError",
    "CorruptRecordError",
    "CrashLoopError",
    "ForkedError",
    "HoldEndedError",
    "JobError",
    "JobProcessError",
    "JobTimeoutError",
    "LocumError",
    "LogGapError",
    "MissingDriverError",
    "NoStoreError",
    "NotActiveError",
    "NotOurTurnError",
    "NotPrimaryError",
    "OutcomeUnknownError",
    "ScheduleError",
    "SchemaError",
    "ServiceError",
    "SessionClosedError",
    "SessionLostError",
    "StaleRunError",
    "StaleTermError",
    "StartError",
    "StateError",
    "StopTimeoutError",
    "StoreError",
    "StoreReplacedError",
    "StoreUnavailableError",
    "TermEndedError",
    "TransferRefusedError",
    "UnansweredError",
    "UnknownJobError",
    "UnknownStoreError",
    "UnsupportedError",
    "WaitTimeoutError",
    "WorkQueueClosedError",
    "WorkQueueFullError",
]


class LocumError(Exception):
    """The root of all errors that Locum raises."""


# -- wrong before anything ran -------------------------------------------------------------------------------------


class ConfigurationError(LocumError):
    """A setting, a name or a declaration is wrong; nothing was started."""


class UnknownStoreError(ConfigurationError):
    """No driver is known for the scheme of a store's URL."""

    def __init__(self, scheme: str, known: Sequence[str]) -> None:
        self.scheme, self.known = scheme, tuple(known)
        super().__init__(f"no store is known for {scheme!r}: use one of {', '.join(self.known)}")


class MissingDriverError(ConfigurationError):
    """The driver exists, but a package that it needs is not installed."""

    def __init__(self, scheme: str, missing: str, extra: str) -> None:
        self.scheme, self.missing, self.extra = scheme, missing, extra
        super().__init__(f"the {scheme} store needs {missing!r}: pip install 'locum[{extra}]'")


class UnsupportedError(ConfigurationError):
    """This platform, database or object cannot do what was asked of it."""


class ScheduleError(ConfigurationError):
    """A job's schedule or policy cannot be."""


# -- between us and the store --------------------------------------------------------------------------------------


class StoreError(LocumError):
    """Something went wrong between this process and the store."""


class StoreUnavailableError(StoreError):
    """The store did not do it, for now: nothing was changed, and the call may be tried again."""

    def __init__(self, store: str, why: str) -> None:
        self.store, self.why = store, why
        super().__init__(f"the store {store} is not available: {why}")


class NoStoreError(StoreUnavailableError):
    """The place is there and answers, but nobody has made a store in it, and whoever only looks makes none."""


class ConflictError(StoreError):
    """A compare-and-set found something else than was expected; nothing was changed.

    Attributes:
        key: The key of the record.
        current: What is there now: a `locum.store.Record`, or of nodes a `Node`; `None` if there is nothing.
    """

    def __init__(self, key: str, current: object | None, why: str = "it was changed by another") -> None:
        self.key, self.current = key, current
        super().__init__(f"{key} was not written: {why}; read it again")


class OutcomeUnknownError(StoreError):
    """The change may or may not have happened, or may yet happen. Read again, or repeat the same call."""

    def __init__(self, store: str, call: str, why: str = "no answer came in time") -> None:
        self.store, self.call, self.why = store, call, why
        super().__init__(f"{call} on {store} may or may not have happened: {why}; read again")


class SessionClosedError(StoreError):
    """The session is closed for good; its id never comes back (R1).

    Attributes:
        session: The id of the session.
        reason: Why it was closed, as its tombstone says; empty if unknown.
    """

    def __init__(self, session: str, reason: str = "") -> None:
        self.session, self.reason = session, reason
        super().__init__(f"session {session} is closed{': ' + reason if reason else ''}; open a new one")


class StoreReplacedError(StoreError):
    """The store is not the one that this process has worked with: it was wiped, exchanged or put back (R24).

    Nothing was done. All sessions are over; whoever has ended what ran under them may adopt the store as it stands now.

    Attributes:
        store: Its URL.
        found: What was found, in words.
    """

    def __init__(self, store: str, found: str) -> None:
        self.store, self.found = store, found
        super().__init__(
            f"the store {store} is not the one that this process has worked with: {found}; all sessions are over,"
            " and it is taken up again after a quarantine"
        )


class CorruptRecordError(StoreError):
    """A record cannot be read as what its key says it is."""

    def __init__(self, key: str, why: str) -> None:
        self.key, self.why = key, why
        super().__init__(f"the record {key} is not readable: {why}; look at it, and delete it if nothing needs it")


class SchemaError(StoreError):
    """The store was written by a release that this one cannot read."""

    def __init__(self, store: str, found: int, readable: int) -> None:
        self.store, self.found, self.readable = store, found, readable
        super().__init__(
            f"the store {store} needs a reader of schema {found}, this release reads up to {readable}:"
            " upgrade locum here"
        )


# -- the protocol says no ------------------------------------------------------------------------------------------


class CoordinationError(LocumError):
    """The protocol of sessions, grants and tokens says no."""


class SessionLostError(CoordinationError):
    """This instance's session ended while something depended on it."""


class ForkedError(CoordinationError):
    """A handle was used in a forked child of the process that made it (R30)."""

    def __init__(self, what: str, parent: int) -> None:
        self.what, self.parent = what, parent
        super().__init__(
            f"{what} belongs to process {parent}, and this is a forked child of it: let the parent use it, or connect"
            " anew here"
        )


class WaitTimeoutError(CoordinationError, TimeoutError):
    """It was not ours in time; no place in line is left behind."""

    def __init__(self, scope: str, timeout: float) -> None:
        self.scope, self.timeout = scope, timeout
        super().__init__(f"{scope} was not ours within {timeout:g} s; no place in line is left behind")


class HoldEndedError(CoordinationError):
    """What was held is not held any more: stop working under it."""

    def __init__(self, scope: str, why: str) -> None:
        self.scope, self.why = scope, why
        super().__init__(self._message())

    def _message(self) -> str:
        return f"{self.scope} is not held any more: {self.why}; stop working under it"


class NotOurTurnError(CoordinationError):
    """Somebody else has it, or goes before; whoever asked did not want to wait."""

    def __init__(self, scope: str) -> None:
        self.scope = scope
        super().__init__(f"{scope} is not free; wait for it, or try again later")


class TermEndedError(HoldEndedError):
    """The term is over: stop working under it."""

    def __init__(self, scope: str, token: int, why: str) -> None:
        self.token = token
        super().__init__(scope, why)

    def _message(self) -> str:
        return f"the term {self.token} in {self.scope} is over: {self.why}; stop working under it"


class StaleTermError(CoordinationError):
    """A fence refused a token because a higher one was there before; the write was not accepted (R21).

    Attributes:
        scope: The scope of the term.
        token: The token that was refused.
        highest: The highest token that the fence has seen, or `None` if it was not raised for this scope.
    """

    def __init__(self, scope: str, token: int, highest: int | None) -> None:
        self.scope, self.token, self.highest = scope, token, highest
        seen = "which it has not seen raised" if highest is None else f"it has seen {highest}"
        super().__init__(f"the fence of {scope} refuses token {token}: {seen}; roll back and stop working under it")


class TransferRefusedError(CoordinationError):
    """The lead cannot be left to the instance that was named; nothing was changed.

    Attributes:
        name: What was to be transferred, for example the service's name.
        to: The instance that was named.
        why: Why not.
    """

    def __init__(self, name: str, to: str, why: str) -> None:
        self.name, self.to, self.why = name, to, why
        super().__init__(f"{name} was not transferred to {to}: {why}; nothing was changed")


class NotActiveError(CoordinationError, TimeoutError):
    """Nobody who is active in a service has answered in time; nothing is known to have been done.

    Attributes:
        service: The name of the service.
        why: What became of the last try.
    """

    def __init__(self, service: str, timeout: float, why: str) -> None:
        self.service, self.timeout, self.why = service, timeout, why
        super().__init__(
            f"nobody who is active in {service} answered within {timeout:g} s: {why}; see who is, and ask again"
        )


class UnansweredError(CoordinationError):
    """A request that must not be made twice was sent, and no answer that counts has come: it may have been done.

    Attributes:
        service: The name of the service.
        request: The method and the address.
        why: What became of the answer.
    """

    def __init__(self, service: str, request: str, why: str) -> None:
        self.service, self.request, self.why = service, request, why
        super().__init__(
            f"{request} may or may not have been done by {service}: {why}; see whether it was, or make it one that may"
            " be repeated"
        )


# -- a service of the user failed ----------------------------------------------------------------------------------


class ServiceError(LocumError):
    """A service of the user failed."""


class StartError(ServiceError):
    """A service could not be started; those that had been started were stopped again.

    Attributes:
        service: Its name.
        why: What went wrong, in words; the error itself is the `__cause__`.
        rollback: What went wrong while the others were stopped again; each stands in the notes too.
    """

    def __init__(self, service: str, why: str) -> None:
        self.service, self.why = service, why
        self.rollback: list[Exception] = []
        super().__init__(f"{service} did not start: {why}")


class StopTimeoutError(ServiceError):
    """A service did not end within its `stop_timeout`: its process is ended, or it counts as ended (R19)."""

    def __init__(self, service: str, timeout: float) -> None:
        self.service, self.timeout = service, timeout
        super().__init__(f"{service} did not stop within {timeout:g} s")


class CrashLoopError(ServiceError):
    """A service failed too often within a time: what it stands in, its group or the host, is to begin anew.

    The last failure is the `__cause__`.
    """

    def __init__(self, service: str, failures: int, within: float) -> None:
        self.service, self.failures, self.within = service, failures, within
        super().__init__(f"{service} failed {failures} times within {within:g} s: look at why, or set restart=")


class WorkQueueClosedError(ServiceError):
    """A work queue takes nothing more in, for its host stops."""

    def __init__(self, service: str) -> None:
        self.service = service
        super().__init__(f"{service} takes nothing more in: its host stops. Let who puts items in come after it")


class WorkQueueFullError(ServiceError, TimeoutError):
    """There was no room in a work queue in time; the item was not taken in."""

    def __init__(self, service: str, size: int, when: str) -> None:
        self.service, self.size = service, size
        super().__init__(f"{service} had no room for the item {when}: {size} wait already. It was not taken in")


# -- the state of a partition --------------------------------------------------------------------------------------


class StateError(LocumError):
    """Something is wrong with the state of a partition, or with what was asked of it."""


class NotPrimaryError(StateError):
    """This replica is not its partition's primary, or not any more: nothing was written, and nothing will be.

    Attributes:
        partition: The service and the partition.
        why: Why it is not.
    """

    def __init__(self, partition: str, why: str) -> None:
        self.partition, self.why = partition, why
        super().__init__(f"this replica of {partition} is not the primary: {why}; ask the one that is")


class LogGapError(StateError):
    """The log does not go on where a replica has read to: it was truncated meanwhile, and the state is loaded anew.

    Attributes:
        partition: The service and the partition.
        position: Of the last record that is known.
        found: Where the log goes on.
    """

    def __init__(self, partition: str, position: int, found: int) -> None:
        self.partition, self.position, self.found = partition, position, found
        super().__init__(
            f"the log of {partition} goes on at {found}, and is known here up to {position}: load its checkpoint"
        )


# -- a scheduled job, or one of its runs ---------------------------------------------------------------------------


class JobError(LocumError):
    """Something is wrong with a scheduled job, or with one of its runs."""


class UnknownJobError(JobError):
    """No instance has ever declared a job of that name, or there is no such run."""

    def __init__(self, what: str, where: str, *, advice: str = "") -> None:
        self.what, self.where = what, where
        advice = advice or "look at `locum jobs list`, or start an instance that declares it"
        super().__init__(f"{where} knows no {what}: {advice}")


class JobTimeoutError(JobError, TimeoutError):
    """A run took longer than its limit, or did not say for too long that it goes on."""

    def __init__(self, job: str, why: str) -> None:
        self.job, self.why = job, why
        super().__init__(f"a run of {job} {why}; raise the limit, or find out where it stands")


class JobProcessError(JobError):
    """A run that was executed in a process of its own has failed there, or its process has ended."""

    def __init__(self, job: str, why: str) -> None:
        self.job, self.why = job, why
        super().__init__(f"a run of {job} failed in its process: {why}; what it wrote stands in the log")


class StaleRunError(JobError):
    """A run is not this executor's any more: its token was refused, and nothing was written."""

    def __init__(self, job: str, token: int) -> None:
        self.job, self.token = job, token
        super().__init__(f"the run of {job} under token {token} is not ours any more: stop working on it")
