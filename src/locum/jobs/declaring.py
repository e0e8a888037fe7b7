"""From what a decorator is given to a job."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence  # in annotations that are read when the program runs
from typing import TYPE_CHECKING, Any, TypedDict, get_args

from locum.errors import ConfigurationError, ScheduleError
from locum.jobs.job import Executor, Job
from locum.jobs.misfires import Misfire, MisfirePolicy
from locum.jobs.overlap import Overlap, OverlapPolicy
from locum.jobs.retry import Retry
from locum.jobs.signature import asks_for_run, check_params
from locum.jobs.triggers import Cron, Every, Gap, Once

if TYPE_CHECKING:
    from datetime import datetime

    from locum.jobs.triggers import Trigger

__all__ = ["JobOptions", "job_of", "trigger_of"]


class JobOptions(TypedDict, total=False):
    """What can be said of every job.

    Attributes:
        name: Its name; the function's if none is given.
        params: What each run is given as `run.params`; in a text `{fire_at}` is its time, as in `{fire_at:%Y-%m-%d}`.
        jitter: Seconds that a run may begin late; the time for which it runs stays what it is.
        misfire: What becomes of times at which no instance was there: `latest`, `none`, `earliest`, `all`, or a
            `Misfire`.
        overlap: What becomes of a run that is due while one is not over: `skip`, `buffer_one`, `buffer_all`,
            `cancel_running`, or an `Overlap`.
        retry: How often a failed run is tried in all, or a `Retry`.
        limit: Seconds that a run may take.
        stall: Seconds within which a run must say again that it goes on (`beat`, `every`, `sleep`, `checkpoint`).
        begin_within: Seconds within which a run must have begun, or is left out.
        stop_timeout: Seconds that a run may take to end when it is cancelled; 5 if none are given.
        slices: Into how many a run is cut (`run.part` of `run.parts`), or an `async def` that returns the parameters of
            each, a mapping that goes over `params`. Each is executed, tried again and limited as a run of its own.
        executor: `asyncio` for an `async def`; `thread` for a plain `def`, which is asked to end, and whose worker ends
            with it if it does not; or `process` for a plain `def` of a module, which is called with the run's params in
            a process of its own, and killed when the run is to end.
        after: The name of a job: when a run of it has succeeded, one of this job follows, for the same `fire_at`.
        key: What runs share a limit by, whatever job they are of: a text in which parameters stand, as in `{customer}`.
        key_limit: How many runs with one key may go at once, on all instances; 1 if nothing is said.
        params_type: What the parameters must be: a dataclass, or a model of pydantic; they are checked
            when the job is declared, and when somebody asks for a run.
        keep_days: For how many days its history is kept: a week if nothing is said, or a month of what was cancelled.
            Dead letters are kept until somebody decides.
        on_complete: An `async def` that is executed once all slices have succeeded; `run.results()` is what they
            returned.
    """

    name: str
    params: Mapping[str, Any]
    jitter: float
    misfire: Misfire | MisfirePolicy
    overlap: Overlap | OverlapPolicy
    retry: Retry | int
    limit: float
    stall: float
    begin_within: float
    stop_timeout: float
    after: str
    executor: Executor
    key: str
    key_limit: int
    params_type: Any
    keep_days: float
    slices: int | Callable[..., Awaitable[Sequence[Mapping[str, Any]]]]
    on_complete: Callable[..., Awaitable[object]]


def job_of(
    name: str, body: Callable[..., object], trigger: Callable[[str], Trigger] | None, options: JobOptions
) -> Job:
    """The job that was declared.

    Raises:
        ConfigurationError: It cannot be.
    """
    executor = options.get("executor", "asyncio")
    if executor not in get_args(Executor):
        raise ScheduleError(f"{name}: executor={executor!r} is not known: it is one of {', '.join(get_args(Executor))}")
    plain = {body} if executor != "asyncio" else set()
    for one in (body, options.get("slices"), options.get("on_complete")):
        if callable(one) and inspect.iscoroutinefunction(one) == (one in plain):
            raise ConfigurationError(_wrong_kind(name, one, executor))
    if executor == "process":
        _see_that_it_can_be_apart(name, body, options)
    given: dict[str, Any] = {**options, "name": name, "body": body}
    unknown = given.keys() - {*JobOptions.__annotations__, "body"}
    if unknown:
        raise ConfigurationError(f"the job {name} has options that nobody knows: {', '.join(sorted(unknown))}")
    if isinstance(given.get("misfire"), str):
        given["misfire"] = Misfire(policy=given["misfire"])
    if isinstance(given.get("overlap"), str):
        if given["overlap"] == "allow":
            raise ScheduleError(f"{name}: overlap='allow' must say how many: write Overlap(policy='allow', most=3)")
        given["overlap"] = Overlap(policy=given["overlap"])
    if isinstance(given.get("retry"), int):
        given["retry"] = Retry(attempts=given["retry"])
    return Job(**given, trigger=None if trigger is None else trigger(name))


def _wrong_kind(name: str, function: Any, executor: str) -> str:
    if inspect.iscoroutinefunction(function):
        return f"{function.__name__} of the job {name} is an async def: executor={executor!r} is for a plain one"
    return (
        f"{function.__name__} of the job {name} is a plain def, which an event loop could not end: write async def, or"
        " executor='thread', or executor='process'"
    )


def _see_that_it_can_be_apart(name: str, body: Callable[..., object], options: JobOptions) -> None:
    if "<" in body.__qualname__:
        raise ScheduleError(
            f"{name}: a process finds its function by its name in a module, and not {body.__qualname__}"
        )
    if "stall" in options and asks_for_run(body) is None:
        raise ScheduleError(
            f"{name}: stall= is for what says that it goes on, by a locum.blocking.Run that it asks for: or use limit="
        )
    if not callable(options.get("slices")):  # otherwise its planner says with what it is called
        check_params(name, body, options.get("params", {}))


def trigger_of(name: str, *, cron: str | None, tz: str, gap: Gap, every: float | None, at: datetime | None) -> Trigger:
    """What says when.

    Raises:
        ScheduleError: It cannot be, or it is not one of the three.
    """
    if sum(one is not None for one in (cron, every, at)) != 1:
        raise ScheduleError(f"the schedule of {name} must say when by one of cron=, every= and at=")
    if gap not in get_args(Gap):
        raise ScheduleError(f"gap={gap!r} is not known: it is one of {', '.join(get_args(Gap))}")
    if cron is not None:
        return Cron(cron, tz=tz, gap=gap, seed=name)
    return Every(every) if every is not None else Once(at)  # type: ignore[arg-type]  # one of the three is there
