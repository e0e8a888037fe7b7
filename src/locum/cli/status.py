"""`locum status`: every instance and every service, once or again and again."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

import click

from locum import exit_codes
from locum.cli.looking import look_again, looking_at, which_store
from locum.cli.picture import heading, notes, tables
from locum.cli.tables import drawn, is_terminal, plain, show
from locum.clock import Clock
from locum.errors import StoreError, StoreReplacedError
from locum.scopes import Scope, happens, run
from locum.views.beats import BeatWatch
from locum.views.status import Status, read_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from locum.cli.looking import Place
    from locum.store import Store
    from locum.views.runs import Runs

__all__ = ["Printer", "command"]

_SHOWN: Final = ("grant/", "line/", "member/", "session/")
_AT_MOST: Final = 0.1  # seconds from one picture to the next, however much happens
_AT_LEAST: Final = 0.5


@click.command("status", short_help="Show every instance and every service.")
@click.argument("what", required=False, type=click.Choice(["shards", "partitions"]))
@click.argument("service", required=False)
@which_store
@click.option("--watch", is_flag=True, help="Go on until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object; with --watch one a line, at each change.")
def command(place: Callable[[], Place], what: str | None, service: str | None, watch: bool, as_json: bool) -> int:
    """Show who is active in which service, who is next, and what every instance does.

    Or who owns which `shards`, or each of the `partitions`, of all services or of one that is named.
    """
    if what is not None:
        if watch:
            raise click.UsageError(f"status {what} shows them once: leave --watch out")
        run(_show(place(), what, service, as_json=as_json))
        return exit_codes.CLEAN
    work = _watch(place(), as_json=as_json) if watch else _once(place(), as_json=as_json)
    try:
        run(work)
    except KeyboardInterrupt:
        pass  # before the watch had taken the signal over
    return exit_codes.CLEAN


async def _show(place: Place, what: str, service: str | None, *, as_json: bool) -> None:
    if what == "shards":
        from locum.cli.shards import show_shards

        await show_shards(place, service, as_json=as_json)
        return
    from locum.cli.partitions import show_partitions

    await show_partitions(place, service, as_json=as_json)


async def _once(place: Place, *, as_json: bool) -> None:
    clock = Clock()
    async with looking_at(place, clock=clock) as store, _jobs_of(place) as jobs:
        status = replace(await read_status(store, clock=clock), jobs=await jobs())
    if as_json:
        click.echo(json.dumps(_plain_object(status), indent=2))
        return
    now = clock.wall().astimezone() if is_terminal() else None
    show(heading(status), tables(status, now=now), notes(status))


async def _watch(place: Place, *, as_json: bool) -> None:
    clock, beats = Clock(), BeatWatch()
    stop, changed = asyncio.Event(), asyncio.Event()

    def leave() -> None:
        stop.set()
        changed.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, leave)
    async with looking_at(place, clock=clock) as store, _jobs_of(place) as jobs, Scope("status") as scope:
        scope.spawn(_hear(store, changed), name="changes")
        with _screen(clock, as_json=as_json) as tell:
            last: Status | None = None
            while not stop.is_set():
                changed.clear()  # before the look: what changes while we look is looked at again
                try:
                    last = beats.timed(await _look(place, store, clock), now=clock.now())
                    last = replace(last, jobs=await jobs())
                    tell(last, "")
                except StoreError as error:
                    tell(last, str(error))
                await happens(stop.wait(), within=_AT_MOST)
                await happens(changed.wait(), within=_AT_LEAST - _AT_MOST)


@asynccontextmanager
async def _jobs_of(place: Place) -> AsyncIterator[Callable[[], Awaitable[Runs | None]]]:
    """What looks at the runs of jobs, where there may be any."""
    if place.job_store is None:

        async def nothing() -> None:
            return None

        yield nothing
        return
    from locum.views.jobs import RunsView

    async with RunsView(place.job_store, place.namespace) as view:
        yield view.look


async def _look(place: Place, store: Store, clock: Clock) -> Status:
    try:
        return await read_status(store, clock=clock)
    except StoreReplacedError:
        await look_again(place, store)
        return await read_status(store, clock=clock)


async def _hear(store: Store, changed: asyncio.Event) -> None:
    async with store.changes(_SHOWN) as changes:
        async for _ in changes:
            changed.set()


@contextmanager
def _screen(clock: Clock, *, as_json: bool) -> Iterator[Callable[[Status | None, str], None]]:
    """What each new picture, or the trouble that kept it from coming, is told to."""
    if as_json or not is_terminal():
        yield Printer(as_json=as_json).tell
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="ellipsis") as live:

        def draw(status: Status | None, trouble: str) -> None:
            if status is None:
                live.update(Text(trouble, style="yellow"), refresh=True)
                return
            said = [*notes(status), *([f"This is the last picture: {trouble}"] if trouble else [])]
            now = clock.wall().astimezone()
            live.update(drawn(heading(status), tables(status, now=now), said, width=console.width), refresh=True)

        yield draw


class Printer:
    """Prints a picture if it says something new: the ages of beats alone are nothing new, nor is a rate.

    Args:
        as_json: One JSON object a line.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._last: object = None

    def tell(self, status: Status | None, trouble: str) -> None:
        """Print it if it is new; trouble goes to stderr."""
        news = (_without_beats(status) if status else None, trouble)
        if news == self._last:
            return
        self._last = news
        if trouble or status is None:
            click.echo(trouble, err=True)
        elif self._as_json:
            click.echo(json.dumps(_plain_object(status)))
        else:
            sys.stdout.write(plain(heading(status), tables(status, now=None), notes(status)) + "\n")
        sys.stdout.flush()


def _plain_object(status: Status) -> dict[str, Any]:
    return asdict(status)


def _without_beats(status: Status) -> dict[str, Any]:
    found = _plain_object(status)
    for one in found["instances"]:
        del one["beat"], one["beat_age"]
    for one in found["partitions"]:
        one["position"] = None  # they change with each commit
        for other in one["secondaries"]:
            other["position"] = None
    for one in (found["jobs"] or {}).get("under_way", ()):
        del one["per_second"], one["left"]
    return found
