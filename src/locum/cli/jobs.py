"""`locum jobs`: what is scheduled, what runs and what became of it; and what may be asked by hand."""

from __future__ import annotations

import functools
import getpass
import json
import sys
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import click

from locum import exit_codes
from locum.cli.looking import file_of
from locum.cli.tables import Cell, Column, Table, is_terminal, show
from locum.cli.words import NOTHING, how_far, instant, one_line
from locum.clock import Clock
from locum.errors import StoreUnavailableError, UnknownJobError
from locum.scopes import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from locum.jobs.jobs import Jobs, Past, Waiting
    from locum.jobs.progress import Progress

__all__ = ["command"]

F = TypeVar("F", bound="Callable[..., Any]")

_JOBS: Final = (
    Column("Job"),
    Column("Next"),
    Column("Fires", wraps=True),
    Column("Paused", wraps=True),
    Column("Declared by", wraps=True),
)
_LIVE: Final = (
    Column("Job"),
    Column("For"),
    Column("State"),
    Column("Attempt", right=True),
    Column("Instance"),
    Column("Progress", wraps=True),
    Column("Run"),
    Column("Last error", wraps=True),
)
_PAST: Final = (
    Column("Job"),
    Column("For"),
    Column("Outcome"),
    Column("Attempt", right=True),
    Column("Token", right=True),
    Column("Instance"),
    Column("Run"),
    Column("Why", wraps=True),
)


@click.group("jobs", short_help="Look at scheduled jobs, run, pause and redrive them.")
def command() -> None:
    """Look at the scheduled jobs of a host, and ask for runs, pauses and second tries by hand."""


def _which(function: F, *, declared: bool = False) -> F:
    """Options that name the job database; the command gets its `jobs`, a function that finds them.

    Args:
        function: The command.
        declared: Whether it needs to know how the jobs are declared, which is known from their host only.
    """

    @click.option("--app", metavar="MODULE:HOST", help="The host; [tool.locum] app of pyproject.toml if not given.")
    @click.option("--job-store", metavar="URL", help="The job database; with --namespace, no module is imported.")
    @click.option("--namespace", metavar="NAME", help="The host's name.")
    @functools.wraps(function)
    def with_jobs(app: str | None, job_store: str | None, namespace: str | None, **others: Any) -> object:
        return function(jobs=lambda: _found(app, job_store, namespace, declared=declared), **others)

    return cast("F", with_jobs)


def _found(app: str | None, job_store: str | None, namespace: str | None, *, declared: bool) -> Jobs:
    from locum.jobs.job import Roster
    from locum.jobs.jobs import Jobs

    if job_store is not None and namespace is not None and not declared:
        roster, url = Roster(), job_store
    else:
        from locum.cli.app import load_host

        host = load_host(app)
        roster, url = host.plan.roster or Roster(), job_store or host.settings.job_store_url
        namespace = namespace or host.name
    path = file_of(url)
    if path is not None and not path.is_file():  # looking must not make one
        raise StoreUnavailableError(
            url, "there is no job database yet; start an instance with `locum run`, or check --app and --job-store"
        )
    return Jobs(roster, lambda: url, namespace=namespace)


def _by_host(function: F) -> F:
    """The same, for what only the host itself knows: when its jobs fire."""
    return _which(function, declared=True)


_name = click.argument("name")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_slices = click.option("--slices", is_flag=True, help="Each slice of what is cut, too.")
_limit = click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="At most so many.")


@command.command("list", short_help="List the jobs.")
@_which
@_as_json
def list_(jobs: Callable[[], Jobs], as_json: bool) -> int:
    """List all jobs: when each is planned next, whether it is paused, and which instances declare it.

    One that no instance declares any more is orphaned: nothing of it fires until one does again; see `remove`.
    """
    found = run(jobs().all())
    rows = [
        (
            one.name,
            _at(one.next_at),
            one.trigger or "when asked",
            one.paused or "",
            ", ".join(one.declared_by) or "nobody: orphaned",
        )
        for one in found
    ]
    return _tell(as_json, found, "Jobs", _JOBS, rows, "No instance has declared a job yet.")


@command.command("show", short_help="Show the runs that are not over.")
@click.argument("name", required=False)
@_which
@_slices
@_as_json
def show_(name: str | None, jobs: Callable[[], Jobs], slices: bool, as_json: bool) -> int:
    """Show the runs of the job NAME, or of all, that wait or run; of one that is cut, how far its slices are."""
    at = jobs()
    found = run(at.live(name, slices=slices))
    if not found:
        _see_that_it_is_known(at, name)
    rows = [
        (
            _name_of(one),
            _at(one.fire_at),
            _state_of(one),
            str(one.attempt),
            one.instance,
            _bar(one.progress),
            one.id,
            one_line(one.error),
        )
        for one in found
    ]
    return _tell(as_json, found, "Runs", _LIVE, rows, "Nothing waits or runs.")


@command.command("history", short_help="Show what is over.")
@click.argument("name", required=False)
@_which
@_limit
@_slices
@_as_json
def history(name: str | None, jobs: Callable[[], Jobs], limit: int, slices: bool, as_json: bool) -> int:
    """Show the runs of the job NAME, or of all, that are over, and the times that were left out; the newest first."""
    at = jobs()
    found = run(at.history(name, limit=limit, slices=slices))
    if not found:
        _see_that_it_is_known(at, name)
    return _past(as_json, found, "History", "Nothing is over yet.")


@command.command("dead", short_help="Show the dead letters.")
@click.argument("name", required=False)
@_which
@_as_json
def dead(name: str | None, jobs: Callable[[], Jobs], as_json: bool) -> int:
    """Show the runs of the job NAME, or of all, that have failed for good.

    `locum jobs redrive` tries one again, `locum jobs discard` lets go of it.
    """
    at = jobs()
    found = run(at.dead(name))
    if not found:
        _see_that_it_is_known(at, name)
    return _past(as_json, found, "Dead letters", "There is no dead letter.")


def _name_of(one: Waiting | Past) -> str:
    """The job of a run; of a slice, which it is, too."""
    return one.job if one.part is None else f"{one.job} #{one.part}"


def _state_of(one: Waiting) -> str:
    """Whether it waits or runs; of what is tried again after a pause, or begins late, when."""
    waits = one.state == "ready" and one.not_before > Clock().wall()
    return f"ready at {_at(one.not_before)}" if waits else one.state


def _see_that_it_is_known(jobs: Jobs, name: str | None) -> None:
    """That there is nothing to be seen of a job is said of those only that there are."""
    if name is not None and all(one.name != name for one in run(jobs.all())):
        raise UnknownJobError(f"job {name!r}", "this job database")


@command.command("next", short_help="Show when a job fires next.")
@_name
@_by_host
@click.option("-n", "many", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many times.")
@_as_json
def next_(name: str, jobs: Callable[[], Jobs], many: int, as_json: bool) -> int:
    """Show the next times of the job NAME, as its host declares it."""
    times = [at.isoformat() for at in jobs().next(name, after=Clock().wall(), many=many)]
    told = "\n".join(times) or f"No time of {name} is to come: it runs when it is asked for."
    click.echo(json.dumps(times) if as_json else told)
    return exit_codes.CLEAN


@command.command("run", short_help="Have a job run now.")
@_name
@_which
@click.option("--nonce", help="Asked again with the same one, it is the same run.")
@click.option("--params", metavar="JSON", help="In place of the declared ones.")
@click.option("--wait", is_flag=True, help="Wait for its end, and show how far it is; 1 if it does not succeed.")
def run_(name: str, jobs: Callable[[], Jobs], nonce: str | None, params: str | None, wait: bool) -> int:
    """Have the job NAME run as soon as there is a place for it; prints the run's id."""
    found = jobs()
    asked = run(found.run_now(name, params=_params(params), nonce=nonce))
    click.echo(asked)
    if not wait:
        return exit_codes.CLEAN
    past = run(_followed(found, asked))
    click.echo(f"{past.outcome}: {one_line(past.error)}" if past.error else past.outcome, err=bool(past.error))
    return exit_codes.CLEAN if past.outcome == "succeeded" else exit_codes.SERVICE_FAILED


async def _followed(jobs: Jobs, asked: str) -> Past:
    """How a run has ended, once it has; a person is shown how far it is meanwhile."""
    from locum.jobs.jobs import Past

    with _shown() as show_it:
        async for one in jobs.follow(asked):
            if not isinstance(one, Past):
                show_it(one)
    assert isinstance(one, Past)  # noqa: S101 - it is followed until then
    return one


@contextmanager
def _shown() -> Iterator[Callable[[Waiting], None]]:
    """What each look at a run is told to: a bar, if somebody reads along."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:
        yield lambda one: live.update(Text(_line(one)), refresh=True)


def _line(one: Waiting) -> str:
    where = f" on {one.instance}" if one.instance else ""
    again = f", attempt {one.attempt}" if one.attempt > 1 else ""
    return f"{one.job} {one.state}{where}{again}  {_bar(one.progress)}".rstrip()


@command.command("backfill", short_help="Make runs for times that have passed.")
@_name
@click.argument("begin", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]))
@click.argument("end", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]))
@_by_host
def backfill(name: str, begin: datetime, end: datetime, jobs: Callable[[], Jobs]) -> int:
    """Make runs for the times of the job NAME from BEGIN on and before END, both in UTC, as far as they have passed."""
    from datetime import UTC

    many = run(jobs().backfill(name, begin.replace(tzinfo=UTC), end.replace(tzinfo=UTC)))
    click.echo(f"1 run of {name} is new." if many == 1 else f"{many} runs of {name} are new.")
    return exit_codes.CLEAN


@command.command("pause", short_help="Let a job's times pass.")
@_name
@_which
@click.option("--reason", required=True, help="Why, for whoever wonders later.")
@click.option("--author", help="Who; you, if not given.")
def pause(name: str, jobs: Callable[[], Jobs], reason: str, author: str | None) -> int:
    """Let the times of the job NAME pass until it is resumed; what runs, runs on."""
    return _done(jobs().pause(name, reason=reason, author=author or getpass.getuser()), f"{name} is paused.")


@command.command("resume", short_help="Go on with a paused job.")
@_name
@_which
def resume(name: str, jobs: Callable[[], Jobs]) -> int:
    """Go on with the job NAME from now; what was missed is not made up for (see `locum jobs backfill`)."""
    return _done(jobs().resume(name), f"{name} is resumed.")


@command.command("remove", short_help="Let go of an orphaned job.")
@_name
@_which
def remove(name: str, jobs: Callable[[], Jobs]) -> int:
    """Let go of the job NAME, which no instance declares any more, with what waits of it; its history stays."""
    return _done(jobs().remove(name), f"{name} is removed.")


@command.command("cancel", short_help="Have a run end.")
@click.argument("run_id")
@_which
def cancel(run_id: str, jobs: Callable[[], Jobs]) -> int:
    """Have the run RUN_ID end: at once if it has not begun."""
    return _done(jobs().cancel(run_id), f"{run_id} is to end.")


@command.command("redrive", short_help="Try a dead letter again.")
@click.argument("run_id")
@_which
def redrive(run_id: str, jobs: Callable[[], Jobs]) -> int:
    """Have the dead letter RUN_ID tried again."""
    return _done(jobs().redrive(run_id), f"{run_id} is tried again.")


@command.command("discard", short_help="Let go of a dead letter.")
@click.argument("run_id")
@_which
def discard(run_id: str, jobs: Callable[[], Jobs]) -> int:
    """Let go of the dead letter RUN_ID: it counts as cancelled from now on, and is kept as long as that."""
    return _done(jobs().discard(run_id), f"{run_id} is no dead letter any more.")


def _done(work: Coroutine[Any, Any, None], told: str) -> int:
    run(work)
    click.echo(told)
    return exit_codes.CLEAN


def _past(as_json: bool, found: Sequence[Any], heading: str, nothing: str) -> int:
    rows = [
        (
            _name_of(one),
            _at(one.fire_at),
            one.outcome,
            str(one.attempt),
            str(one.token),
            one.instance,
            one.id,
            one_line(one.error),
        )
        for one in found
    ]
    return _tell(as_json, found, heading, _PAST, rows, nothing)


def _tell(
    as_json: bool,
    found: Sequence[Any],
    heading: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    nothing: str,
) -> int:
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2, default=datetime.isoformat))
    elif not rows:
        click.echo(nothing)
    else:
        show(heading, [Table(columns, [[Cell(text) for text in row] for row in rows])], [])
    return exit_codes.CLEAN


def _bar(progress: Progress | None) -> str:
    if progress is None:
        return ""
    note = f" {one_line(progress.note)}" if progress.note else ""
    return how_far(progress.done, progress.of, progress.per_second, progress.left) + note


def _at(at: datetime | None) -> str:
    if at is None:
        return NOTHING
    return instant(at.isoformat(), now=Clock().wall().astimezone() if is_terminal() else None)


def _params(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--params is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise click.UsageError('--params must be a JSON object, such as \'{"day": "2026-01-01"}\'')
    return found
