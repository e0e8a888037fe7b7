"""The picture of the status as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locum.cli.tables import Cell, Column, Table
from locum.cli.words import NOTHING, age, how_far, instant, one_line, place_in_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from locum.views.runs import Runs, UnderWay
    from locum.views.status import Instance, Part, Service, Status

__all__ = ["heading", "notes", "tables"]

_SERVICES: Final = (
    Column("Service", wraps=True),
    Column("Active", wraps=True),
    Column("Token", right=True),
    Column("Since"),
    Column("Next in line", wraps=True),
    Column("Waiting", right=True),
)
_INSTANCES: Final = (
    Column("Instance", wraps=True),
    Column("Machine", wraps=True),
    Column("Keeper", right=True),
    Column("Worker", right=True),
    Column("Beat", right=True),
    Column("Level"),
    Column("Services", wraps=True),
    Column("Session", least=110),
)
_RUNS: Final = (
    Column("Job", wraps=True),
    Column("For"),
    Column("State"),
    Column("Attempt", right=True),
    Column("Instance", wraps=True),
    Column("Progress"),
    Column("Note", wraps=True, least=110),
)
_LATE: Final = 0.5  # of the TTL: a beat that old has missed two others
_ORDER: Final = ("active", "completed", "stopping", "backoff", "starting", "passive", "running", "stopped")
_STYLES: Final = {"active": "green", "completed": "cyan", "backoff": "yellow", "stopping": "yellow"}


def heading(status: Status) -> str:
    """The line above it all."""
    return f"{status.namespace} on {status.store}"


def tables(status: Status, *, now: datetime | None) -> list[Table]:
    """The tables of the services, of the instances, and of the runs of jobs.

    Args:
        status: The picture.
        now: This moment, in the reader's time zone; `None` where a program reads.
    """
    return [
        Table(columns, rows)
        for columns, rows in (
            (_SERVICES, [_service(one, now) for one in status.services]),
            (_INSTANCES, [_instance(one, is_short=now is not None) for one in status.instances]),
            (_RUNS, [_run(one, now) for one in status.jobs.under_way] if status.jobs else []),
        )
        if rows
    ]


def notes(status: Status) -> list[str]:
    """What has to be said besides."""
    found = [] if status.instances else [f"No instance of {status.namespace} is running."]
    if status.quarantine:
        found.append(
            "The store is in quarantine, for it was wiped, exchanged or reset: nothing is granted until an instance has"
            f" watched it for {status.quarantine:g} s."
        )
    found += [f"{one.name}: {one_line(one.trouble)}" for one in status.services if one.trouble]
    found += [f"{one.name}: {one_line(one.trouble)}" for one in status.instances if one.trouble]
    return found + _notes_on_jobs(status.jobs)


def _notes_on_jobs(jobs: Runs | None) -> list[str]:
    if jobs is None:
        return []
    more = [f"{jobs.more} more under way"] * bool(jobs.more) + [f"{jobs.waiting} waiting"] * bool(jobs.waiting)
    told = f"Runs of jobs: {', '.join(more)}; `locum jobs show` shows all." if more else ""
    return [one for one in (told, jobs.trouble and f"The jobs: {one_line(jobs.trouble)}") if one]


def _service(one: Service, now: datetime | None) -> list[Cell]:
    if not one.exclusive:
        where = f"runs on {one.running} instance{'' if one.running == 1 else 's'}"
        return [Cell(one.name), Cell(where), *[Cell(NOTHING, "dim")] * 4]
    return [
        Cell(one.name),
        _active(one),
        Cell(str(one.token) if one.token else NOTHING),
        Cell(instant(one.since, now=now)),
        Cell(one.next or NOTHING, "" if one.next else "dim"),
        Cell(str(len(one.waiting))),
    ]


def _run(one: UnderWay, now: datetime | None) -> list[Cell]:
    return [
        Cell(one.job),
        Cell(instant(one.fire_at, now=now)),
        Cell(one.state),
        Cell(str(one.attempt)),
        Cell(one.instance),
        Cell(NOTHING if one.done is None else how_far(one.done, one.of, one.per_second, one.left)),
        Cell(one_line(one.note)),
    ]


def _active(one: Service) -> Cell:
    if one.active is not None:
        if one.mode in ("", "active"):
            return Cell(one.active, "green")
        return Cell(f"{one.active} ({one.mode})", _STYLES.get(one.mode, ""))
    if one.trouble and not one.token:
        return Cell("not readable", "red")
    known = [f"was {one.previous}"] * bool(one.previous) + [f"left to {one.reserved}"] * bool(one.reserved)
    return Cell(f"nobody ({', '.join(known)})" if known else "nobody", "red")


def _instance(one: Instance, *, is_short: bool) -> list[Cell]:
    late = one.beat_age is not None and one.ttl > 0 and one.beat_age > _LATE * one.ttl
    return [
        Cell(one.name),
        Cell(one.machine or NOTHING),
        Cell(_pid(one.keeper)),
        Cell(_pid(one.worker)),
        Cell(age(one.beat_age), "yellow" if late else ""),
        Cell(one.enforcement or NOTHING),
        Cell(_parts(one.parts), _STYLES["active"] if any(part.mode == "active" for part in one.parts) else ""),
        Cell(one.session[:8] if is_short else one.session, "dim"),
    ]


def _pid(pid: int | None) -> str:
    return NOTHING if pid is None else str(pid)


def _parts(parts: Sequence[Part]) -> str:
    """One line a mode: `active settle`, `passive reminders (next), archive (2nd)`."""
    by_mode: dict[str, list[str]] = {}
    for part in parts:
        text = f"{part.service} ({place_in_line(part.place)})" if part.place else part.service
        by_mode.setdefault(part.mode or "waits for", []).append(text)
    modes = sorted(by_mode, key=lambda mode: _ORDER.index(mode) if mode in _ORDER else len(_ORDER))
    return "\n".join(f"{mode} {', '.join(by_mode[mode])}" for mode in modes) or NOTHING
