"""What a user has declared as jobs, as instances run them."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping  # in annotations that are read when the program runs
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from locum.errors import ConfigurationError, ScheduleError
from locum.jobs.cron import place_by_hash
from locum.jobs.misfires import Misfire, unharmed
from locum.jobs.overlap import Overlap
from locum.jobs.retry import Retry
from locum.jobs.signature import check_params
from locum.names import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import TypeAdapter

    from locum.jobs.triggers import Trigger

__all__ = ["MOST_SLICES", "Executor", "Job", "Roster", "in_words", "instant", "micros", "reader_of"]

Executor = Literal["asyncio", "thread", "process"]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_MOST_JOBS: Final = 100_000
_PATIENCE: Final = 5.0
_LONGEST_KEY: Final = 200
_TOGETHER: Final = 1000
MOST_SLICES: Final = 10_000
_GRAINS: Final = 1_000_000


def micros(at: datetime) -> int:
    """An instant as the job database keeps it: microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def instant(at: int) -> datetime:
    """What the job database keeps, as an instant in UTC."""
    return _EPOCH + at * _MICROSECOND


def in_words(at: int) -> str:
    """The same, for people."""
    return instant(at).isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job.

    Attributes:
        name: Its name.
        body: What a run does: an `async def` that may ask for the `Run`, and for collaborators by type; or a plain one.
        executor: Where it is executed: a plain one in a thread, or in a process.
        trigger: When it fires; `None` if only when somebody asks.
        params: What each run is given; `{fire_at}` in a text is its time, as in `{fire_at:%Y-%m-%d}`.
        jitter: Seconds that a run may begin late, by its time's hash; its time is what it is.
        misfire: What becomes of times at which nobody was there.
        overlap: What becomes of a run that is due while another is not over.
        retry: Whether a failed run is tried again.
        limit: Seconds that a run may take; `None` for no limit.
        stall: Seconds after which a run that did not say that it goes on (`beat`, `every`, `sleep`) is given up.
        begin_within: Seconds within which a run must have begun, or is left out; `None` for whenever.
        stop_timeout: Seconds that a run may take to end when it is cancelled.
        slices: Into how many a run is cut, each executed by the body as a run of its own; or what says so: a function
            that is called as a body is, and returns the parameters of each. `None` if it is not cut.
        on_complete: What is done once when all slices have succeeded: called as a body is.
        after: A job; each run of it that has succeeded has a run of this one follow, for the same time.
        key: What runs share a limit by, with those of other jobs that have the same: a text in which parameters
            stand, as in `{customer}`.
        key_limit: How many runs with one key may go at once.
        params_type: What the parameters of a run must be, as pydantic reads them; `None` for whatever JSON can tell.
        keep_days: For how many days its history is kept; `None` for a week, or a month if it was cancelled. Dead
            letters are kept until somebody decides.
    """

    name: str
    body: Callable[..., object]
    trigger: Trigger | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    jitter: float = 0.0
    misfire: Misfire = field(default_factory=Misfire)
    overlap: Overlap = field(default_factory=Overlap)
    retry: Retry = field(default_factory=Retry)
    limit: float | None = None
    stall: float | None = None
    begin_within: float | None = None
    stop_timeout: float = 5.0
    slices: int | Callable[..., object] | None = None
    on_complete: Callable[..., object] | None = None
    after: str | None = None
    executor: Executor = "asyncio"
    key: str | None = None
    key_limit: int = 1
    params_type: Any = None
    keep_days: float | None = None

    def __post_init__(self) -> None:
        """See that it can be.

        Raises:
            ConfigurationError: It cannot.
        """
        check_name(self.name, what="the name of a job")
        for option in ("limit", "stall", "begin_within", "stop_timeout", "keep_days"):
            value = getattr(self, option)
            if value is not None and not 0 < value < float("inf"):
                unit = "days" if option == "keep_days" else "seconds"
                raise ScheduleError(f"{self.name}: {option}={value!r} must be a number of {unit} above 0")
        if not 0 <= self.jitter < 86_400:
            raise ScheduleError(f"{self.name}: jitter={self.jitter!r} must be 0 to a day of seconds")
        if isinstance(self.slices, int) and not 1 <= self.slices <= MOST_SLICES:
            raise ScheduleError(f"{self.name}: slices={self.slices!r} must be 1 to {MOST_SLICES:,}")
        if self.on_complete is not None and self.slices is None:
            raise ScheduleError(f"{self.name}: on_complete= is for runs that are cut: say slices=, too")
        if self.after is not None and (self.trigger is not None or self.after == self.name):
            raise ScheduleError(f"{self.name}: after={self.after!r} is for a job without a schedule, after another one")
        if self.key_limit < 1:
            raise ScheduleError(f"{self.name}: key_limit={self.key_limit!r}: at least one run must be able to go")
        default = self.params_at(0)
        if self.trigger is not None or self.after is not None or self.params:  # otherwise whoever asks may give them
            if not callable(self.slices):
                self.checked(default)
            self.limit_of(default, 0)

    @property
    def patience(self) -> float:
        """For how many seconds a time of it may be left to an instance that has room, and nothing comes of it."""
        if self.overlap.replaces:
            return 0.0  # what goes is cancelled at once, though it may be what takes the room
        return _PATIENCE if self.trigger is None else unharmed(self.trigger, self.misfire, most=_PATIENCE)

    @property
    def bodies(self) -> list[Callable[..., object]]:
        """The user's functions."""
        body = None if self.executor == "process" else self.body  # it is given its params, and no collaborators
        return [one for one in (body, self.slices, self.on_complete) if callable(one)]

    @property
    def demands_form(self) -> bool:
        """Whether its parameters must be of some form, by their type or by what its function takes."""
        return self.params_type is not None or self.executor == "process"

    @property
    def trigger_text(self) -> str:
        """When it fires, as the job database keeps it: a change of it is a change of the schedule."""
        return "" if self.trigger is None else self.trigger.text

    def params_at(self, fire_at: int) -> str:
        """The parameters of the run of that time, as JSON.

        Raises:
            ScheduleError: They cannot be told in JSON, or name something else than `fire_at`.
        """
        if not self.params:
            return "{}"
        at = instant(fire_at)
        try:
            filled = {
                name: value.format(fire_at=at) if isinstance(value, str) else value
                for name, value in self.params.items()
            }
            return json.dumps(filled, allow_nan=False)
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise ScheduleError(f"{self.name}: its params cannot be: {type(error).__name__}: {error}") from error

    def checked(self, params: str) -> str:
        """These parameters, which are what the body takes.

        Args:
            params: As JSON; of a slice, where a planner says what these are.

        Raises:
            ScheduleError: They are not.
        """
        if self.params_type is not None:
            try:
                reader_of(self.params_type).validate_json(params)
            except ValueError as error:  # pydantic's is one; its lines say what is wrong, and where
                raise ScheduleError(f"the params of {self.name} are not what it takes: {error}") from error
        if self.executor == "process":
            check_params(self.name, self.body, json.loads(params))
        return params

    def limit_of(self, params: str, fire_at: int) -> dict[str, Any]:
        """What a run with these parameters shares a limit by, as columns of its row.

        Args:
            params: As JSON.
            fire_at: Its time.

        Raises:
            ScheduleError: The key names a parameter that it does not have, or is too long.
        """
        if self.key is None:
            return {}
        try:
            key = self.key.format(**{"fire_at": instant(fire_at), **json.loads(params)})
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise ScheduleError(f"{self.name}: key={self.key!r} cannot be: {type(error).__name__}: {error}") from error
        if not 1 <= len(key) <= _LONGEST_KEY:
            raise ScheduleError(f"{self.name}: the key {key!r:.80} must have 1 to {_LONGEST_KEY} characters")
        return {"limit_key": key, "key_places": self.key_limit}

    def not_before(self, fire_at: int) -> int:
        """When the run of that time may begin: the same for whoever asks."""
        if not self.jitter:
            return fire_at
        share = place_by_hash(f"{self.name}/{fire_at}", _GRAINS)
        return fire_at + round(self.jitter * share)


@functools.cache
def reader_of(kind: Any) -> TypeAdapter[Any]:
    """What reads JSON as a type: a dataclass, or a model of pydantic.

    Raises:
        ScheduleError: It is none that could be read.
    """
    from pydantic import PydanticUserError, TypeAdapter

    try:
        return TypeAdapter(kind)
    except PydanticUserError as error:
        raise ScheduleError(f"params_type={kind!r} cannot be read from JSON: {error}") from error


class Roster:
    """The jobs of one host.

    Attributes:
        jobs: By name.
        patience: For how many seconds a time of any of them may be left to an instance that has room.

    Args:
        at_once: How many runs one instance has at once.

    Raises:
        ConfigurationError: So many cannot be.
    """

    def __init__(self, at_once: int = 10) -> None:
        if at_once < 1:
            raise ConfigurationError(f"jobs_at_once={at_once!r}: one run must be able to go")
        self.jobs: dict[str, Job] = {}
        self.at_once, self.patience = at_once, _PATIENCE

    @property
    def bodies(self) -> list[Callable[..., object]]:
        """The user's functions."""
        return [body for job in self.jobs.values() for body in job.bodies]

    @property
    def kept(self) -> dict[str, float]:
        """For how many days the history of each job is kept that says so."""
        return {job.name: job.keep_days for job in self.jobs.values() if job.keep_days is not None}

    def batches(self) -> Iterator[list[Job]]:
        """The jobs by name, so many together as one transaction can have."""
        jobs = sorted(self.jobs.values(), key=lambda job: job.name)
        for begin in range(0, len(jobs), _TOGETHER):
            yield jobs[begin : begin + _TOGETHER]

    def declare(self, job: Job) -> None:
        """Add a job.

        Raises:
            ConfigurationError: Its name is taken, or there are too many.
        """
        if len(self.jobs) == _MOST_JOBS:
            raise ConfigurationError(f"a host has {_MOST_JOBS:,} jobs at most: give some of them a host of their own")
        if job.name in self.jobs:
            raise ConfigurationError(f"there is a job {job.name!r} already: give one of them another name=")
        self.jobs[job.name] = job
        self.patience = min(self.patience, job.patience)

    def check(self) -> None:
        """See that each job that follows on another one could, now that all are declared.

        Raises:
            ScheduleError: One follows on a job that is not here, or on itself, round about.
        """
        for job in self.jobs.values():
            line, other = [job.name], job.after
            while other is not None:
                if other not in self.jobs:
                    raise ScheduleError(f"{line[-1]}: after={other!r} is no job of this host: it would never run")
                if other in line:
                    raise ScheduleError(f"{' after '.join([*line, other])}: they would follow on each other for ever")
                line.append(other)
                other = self.jobs[other].after
