"""`locum doctor`: which guarantees hold on this machine with this store, which do not, and why."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import click

from locum import exit_codes
from locum.cli.examination import clocks, kernel, limits, storage, store, surroundings
from locum.cli.examination.finding import Finding, Level
from locum.cli.examination.verdict import Promise, promises
from locum.cli.looking import file_of, looking_at, which_store_if_any
from locum.cli.tables import Cell, Column, Table, show
from locum.cli.words import NOTHING, one_line
from locum.clock import Clock
from locum.errors import ConfigurationError, LocumError, NoStoreError, StoreError
from locum.identity import host_name
from locum.scopes import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.cli.examination.store import Answers, Neighbour
    from locum.cli.looking import Place

__all__ = ["Report", "command"]

_STYLES: Final = {Level.HOLDS: "green", Level.WEAKER: "yellow", Level.UNKNOWN: "red", Level.FAILS: "red"}
_FINDINGS: Final = (Column(""), Column("Looked at"), Column("Found", wraps=True))
_NEIGHBOURS: Final = (
    Column("Instance", wraps=True),
    Column("Machine", wraps=True),
    Column("Level"),
    Column("Its death, seen from here", wraps=True),
)
_PROMISES: Final = (Column(""), Column("Promise", wraps=True), Column("Why", wraps=True))


@dataclass(slots=True)
class Report:
    """All that was found.

    Attributes:
        areas: The findings by what they are about.
        neighbours: Who is on the store.
        promises: What it comes to.
        notes: What has to be said besides.
        unreachable: Whether a store was named that does not answer.
    """

    areas: dict[str, list[Finding]] = field(default_factory=dict)
    neighbours: list[Neighbour] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unreachable: bool = False

    @property
    def code(self) -> int:
        """The exit code: a broken promise counts more than a store that does not answer."""
        if any(one.level in (Level.FAILS, Level.UNKNOWN) for one in self.promises):
            return exit_codes.SERVICE_FAILED
        return exit_codes.STORE_UNAVAILABLE if self.unreachable else exit_codes.CLEAN


@click.command("doctor", short_help="Tell which guarantees hold on this machine with this store.")
@which_store_if_any
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(place: Callable[[], Place | None], as_json: bool) -> int:
    """Try out what Locum builds on, look at the store and who is on it, and say which guarantees hold.

    Takes some two seconds, writes nothing to the store and never makes one. Without a store it looks at the machine
    alone.

    \b
    Exit codes:
      0   all that enforcement by kill needs holds here (some of it may be weaker, and says so)
      1   a guarantee does not hold, or it cannot be known whether it does
      2   usage
      69  nothing of that, but the store that was named cannot be reached
      78  the host that was named cannot be loaded, or its settings are wrong
    """  # noqa: D301 - click wants the character itself, which keeps the lines below as they are
    report = _examined(place())
    if as_json:
        click.echo(json.dumps(_plain_object(report), indent=2))
    else:
        show(f"Locum on {host_name()}", _tables(report), report.notes)
    return report.code


def _examined(place: Place | None) -> Report:
    clock, report = Clock(), Report()
    rates = clocks.Rates(clock)
    report.areas["The kernel, tried out"] = kernel.findings()
    report.areas["Where we are"] = surroundings.findings()
    report.areas["Limits"] = limits.findings()
    if place is None:
        report.notes.append("No store was looked at: name one with --app or --store.")
    found = _store(place, clock, report) if place else []
    report.areas["Clocks"] = clocks.findings(rates)  # late, since a second has to pass
    report.areas["The store"] = found
    report.promises = promises((one for area in report.areas.values() for one in area), report.neighbours)
    return report


def _store(place: Place, clock: Clock, report: Report) -> list[Finding]:
    file = file_of(place.url)
    findings = [] if file is None else storage.findings(file)
    if file is not None and not file.exists() and not place.is_given:
        report.notes.append(f"There is no store yet: `locum run` will make {file}.")
        return findings
    try:
        answers = run(_ask(place, clock))
    except NoStoreError as error:
        report.unreachable = True
        return [Finding("store", "Store", Level.NOTE, f"{error.store}: {error.why}"), *findings]
    except (StoreError, ConfigurationError) as error:
        report.unreachable = True
        return [_unreachable(error), *findings]
    report.neighbours = sorted(map(store.neighbour, answers.sessions), key=lambda one: one.instance)
    if not place.has_host:
        report.notes.append("Who is on the store was not looked at: name a host with --app or --namespace.")
    elif not report.neighbours:
        report.notes.append(f"No instance of {place.namespace} is running.")
    return [*store.findings(answers, ttl=place.ttl), *findings]


async def _ask(place: Place, clock: Clock) -> Answers:
    async with looking_at(place, clock=clock) as found:
        return await store.ask(found, clock=clock)


def _unreachable(error: LocumError) -> Finding:
    return Finding("store", "Store", Level.FAILS, one_line(str(error)))


# -- printing ----------------------------------------------------------------------------------------------------


def _tables(report: Report) -> list[Table]:
    tables = [
        Table(_FINDINGS, [_finding(one) for one in area], title=title) for title, area in report.areas.items() if area
    ]
    if report.neighbours:
        tables.append(Table(_NEIGHBOURS, [_neighbour(one) for one in report.neighbours], title="Who is on this store"))
    return [*tables, Table(_PROMISES, [_promise(one) for one in report.promises], title="What holds here")]


def _finding(one: Finding) -> list[Cell]:
    advice = f"\n-> {one.advice}" if one.advice and one.level is not Level.HOLDS else ""
    return [_level(one.level), Cell(one.what), Cell(one.fact + advice)]


def _promise(one: Promise) -> list[Cell]:
    return [_level(one.level), Cell(one.text), Cell(one.why)]


def _neighbour(one: Neighbour) -> list[Cell]:
    style = "green" if one.witnessed else "yellow"
    return [
        Cell(one_line(one.instance)),
        Cell(one_line(one.machine) or NOTHING),
        Cell(one.enforcement or NOTHING, "" if one.enforcement == "kill" else "yellow"),
        Cell(one_line(one.how), style),
    ]


def _level(level: Level) -> Cell:
    return Cell(level.value, _STYLES.get(level, "dim"))


def _plain_object(report: Report) -> dict[str, Any]:
    found = asdict(report)
    found["areas"] = [{"title": title, "findings": findings} for title, findings in found["areas"].items()]
    return {**found, "exit_code": report.code}
