"""The picture of the status as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locum.cli.partitions import notes_on_partitions, table_of_partitions
from locum.cli.tables import Cell, Column, Table
from locum.cli.words import NOTHING, age, how_far, instant, one_line, place_in_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from locum.views.partitions import PartitionView
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
    found = [
        Table(_SERVICES, [_service(one, status, now) for one in status.services]),
        table_of_partitions(status.partitions, now),
        Table(_INSTANCES, [_instance(one, status, is_short=now is not None) for one in status.instances]),
        Table(_RUNS, [_run(one, now) for one in status.jobs.under_way] if status.jobs else []),
    ]
    return [table for table in found if table.rows]


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
    return found + notes_on_partitions(status.partitions, is_short=True) + _notes_on_jobs(status.jobs)


def _notes_on_jobs(jobs: Runs | None) -> list[str]:
    if jobs is None:
        return []
    more = [f"{jobs.more} more under way"] * bool(jobs.more) + [f"{jobs.waiting} waiting"] * bool(jobs.waiting)
    told = f"Runs of jobs: {', '.join(more)}; `locum jobs show` shows all." if more else ""
    return [one for one in (told, jobs.trouble and f"The jobs: {one_line(jobs.trouble)}") if one]


def _service(one: Service, status: Status, now: datetime | None) -> list[Cell]:
    if one.partitions:
        return [Cell(one.name), _led(status.partitions_of(one.name)), *[Cell(NOTHING, "dim")] * 4]
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


def _led(partitions: Sequence[PartitionView]) -> Cell:
    """How many partitions have a primary."""
    led, of = sum(one.primary is not None for one in partitions), len(partitions)
    noun = f"partition{'' if of == 1 else 's'}"
    if led == of:
        return Cell(f"{of} {noun}, each with a primary" if of > 1 else f"{of} {noun}, with a primary")
    return Cell(f"{of} {noun}, {of - led} without a primary", "red")


def _active(one: Service) -> Cell:
    if one.active is not None:
        if one.mode in ("", "active"):
            return Cell(one.active, "green")
        return Cell(f"{one.active} ({one.mode})", _STYLES.get(one.mode, ""))
    if one.trouble and not one.token:
        return Cell("not readable", "red")
    known = [f"was {one.previous}"] * bool(one.previous) + [f"left to {one.reserved}"] * bool(one.reserved)
    return Cell(f"nobody ({', '.join(known)})" if known else "nobody", "red")


def _instance(one: Instance, status: Status, *, is_short: bool) -> list[Cell]:
    divided = {part.service for part in status.partitions}
    leads = any(part.session == one.session for part in status.partitions)
    late = one.beat_age is not None and one.ttl > 0 and one.beat_age > _LATE * one.ttl
    return [
        Cell(one.name),
        Cell(one.machine or NOTHING),
        Cell(_pid(one.keeper)),
        Cell(_pid(one.worker)),
        Cell(age(one.beat_age), "yellow" if late else ""),
        Cell(one.enforcement or NOTHING),
        Cell(
            _parts(one.parts, {name: _roles(one, status.partitions_of(name)) for name in divided}),
            _STYLES["active"] if leads or any(part.mode == "active" for part in one.parts) else "",
        ),
        Cell(one.session[:8] if is_short else one.session, "dim"),
    ]


def _pid(pid: int | None) -> str:
    return NOTHING if pid is None else str(pid)


def _roles(one: Instance, partitions: Sequence[PartitionView]) -> str:
    """What it is in the partitions of a service: `primary of 2, secondary of 1`."""
    primary = sum(part.session == one.session for part in partitions)
    secondary = sum(any(other.session == one.session for other in part.secondaries) for part in partitions)
    told = [f"primary of {primary}"] * bool(primary) + [f"secondary of {secondary}"] * bool(secondary)
    return ", ".join(told)


def _parts(parts: Sequence[Part], roles: Mapping[str, str]) -> str:
    """One line a mode: `active settle`, `passive reminders (next), archive (2nd)`, `running visits (primary of 2)`."""
    by_mode: dict[str, list[str]] = {}
    for part in parts:
        more = place_in_line(part.place) if part.place else roles.get(part.service, "")
        text = f"{part.service} ({more})" if more else part.service
        by_mode.setdefault(part.mode or "waits for", []).append(text)
    modes = sorted(by_mode, key=lambda mode: _ORDER.index(mode) if mode in _ORDER else len(_ORDER))
    return "\n".join(f"{mode} {', '.join(by_mode[mode])}" for mode in modes) or NOTHING
