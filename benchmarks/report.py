"""What is shown and what is kept: tables for the terminal, JSON for everything else."""

from __future__ import annotations

import json
from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, spread, time_text
from benchmarks.locks import KINDS as LOCK_KINDS
from benchmarks.takeover import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.harness import Outcome
    from benchmarks.jobs.results import Row as JobRow
    from benchmarks.locks.results import Row as LockRow
    from benchmarks.stores.results import Row as StoreRow
    from benchmarks.takeover.results import Row

__all__ = [
    "keep",
    "limit_figures",
    "show_costs",
    "show_jobs",
    "show_limits",
    "show_locks",
    "show_machine",
    "show_missing",
    "show_stores",
    "show_takeovers",
    "show_watches",
]

_console = Console()
if not _console.is_terminal:
    _console = Console(width=140)


def limit_figures(outcome: Outcome, kind: str) -> dict[str, Figure]:
    """The figures of the cases of a kind by their labels, in ms."""
    return {case.label: spread(outcome.values(case, "ms"), "ms") for case in outcome.cases() if case.kind == kind}


def show_machine(words: str) -> None:
    """What was measured on."""
    _console.print(words, highlight=False, markup=False)


def show_limits(found: Mapping[str, Figure]) -> None:
    """What the machine can do at best."""
    table = _table("What this machine can do at best", "", "min", "p50", "p90", "p99", "max", "n")
    for label, figure in found.items():
        numbers = (figure.min, figure.p50, figure.p90, figure.p99, figure.max)
        table.add_row(label, *map(time_text, numbers), str(figure.n))
    _console.print(table)


def show_takeovers(rows: Sequence[Row], ttl: float) -> None:
    """A table a kind."""
    for kind, title in KINDS.items():
        chosen = [row for row in rows if row.case.kind == kind]
        if not chosen:
            continue
        table = _table(
            f"{title}; TTL {ttl:g} s", "", "min", "p50", "p90", "p99", "n", "/ least", "/ TTL", "two at once"
        )
        for row in chosen:
            figure = row.takeover
            table.add_row(
                row.case.label,
                *map(time_text, (figure.min, figure.p50, figure.p90, figure.p99)),
                str(figure.n),
                "" if row.times_least is None else f"{row.times_least:.3g}",
                f"{row.times_ttl:.2g}",
                row.overlap_text,
            )
        _console.print(table)


def show_stores(rows: Sequence[StoreRow], ttl: float) -> None:
    """A line a store."""
    table = _table(
        f"On each store; TTL {ttl:g} s",
        "",
        "write",
        "told",
        "killed: p50",
        "max",
        "n",
        "/ (notice + told)",
        "resigned: p50",
        "max",
        "n",
        "/ told",
    )

    def cells(figure: Figure | None, ratio: float | None) -> list[str]:
        if figure is None:
            return [""] * 4
        return [time_text(figure.p50), time_text(figure.max), str(figure.n), "" if ratio is None else f"{ratio:.3g}"]

    for row in rows:
        own = [time_text(figure.p50) if figure else "" for figure in (row.write, row.told)]
        table.add_row(row.name, *own, *cells(row.crash, row.crash_ratio), *cells(row.hand_over, row.hand_over_ratio))
    _console.print(table)


def show_locks(rows: Sequence[LockRow]) -> None:
    """A table a kind."""
    names = (
        "turns a second",
        "most / least turns",
        "hand-over ms",
        "taken a second",
        "given back a second",
        "calls a second, holding",
    )
    for kind, title in LOCK_KINDS.items():
        chosen = [row for row in rows if row.case.kind == kind]
        shown = [name for name in names if any(name in row.figures for row in chosen)]
        if not chosen:
            continue
        table = _table(title, "", *shown, "n", "two at once")
        for row in chosen:
            figures = [row.figures.get(name) for name in shown]
            n = max(figure.n for figure in row.figures.values())
            cells = ["" if figure is None else f"{figure.p50:.3g}" for figure in figures]
            table.add_row(row.case.label, *cells, str(n), str(row.overlaps) if row.overlaps else "never")
        _console.print(table)


def show_watches(rows: Sequence[LockRow]) -> None:
    """How soon a watcher of 1,000 members is told, and what that costs."""
    if not rows:
        return
    title = "1,000 members; until a watcher has been told of one more, and of its leaving"
    table = _table(title, "", "join: p50", "p99", "n", "leave: p50", "p99", "n", "calls a change: joiner", "watcher")
    for row in rows:
        join, leave = row.figures["join ms"], row.figures["leave ms"]
        cells = [cell for each in (join, leave) for cell in (time_text(each.p50), time_text(each.p99), str(each.n))]
        calls = [row.figures.get(f"calls a change, {who}") for who in ("joiner", "watcher")]
        table.add_row(row.case.label, *cells, *("" if each is None else f"{each.p50:.3g}" for each in calls))
    _console.print(table)


def show_jobs(rows: Sequence[JobRow]) -> None:
    """A table a kind."""
    for kind in dict.fromkeys(row.case.kind for row in rows):
        of_it = [row for row in rows if row.case.kind == kind]
        names = list(dict.fromkeys(name for row in of_it for name in row.figures))
        table = _table(kind[0].upper() + kind[1:], "", *names, "n")
        for row in of_it:
            figures = [f"{row.figures[name]:,.4g}" if name in row.figures else "" for name in names]
            table.add_row(row.case.label, *figures, str(row.n))
        _console.print(table)


def show_costs(title: str, found: Mapping[str, Any]) -> None:
    """What something costs."""
    table = _table(title, "", "p50", "max", "n", "")
    for label, value in found.items():
        if isinstance(value, Figure):
            table.add_row(label, f"{value.p50:.4g}", f"{value.max:.4g}", str(value.n), value.unit)
        else:
            table.add_row(label, str(value))
    _console.print(table)


def show_missing(outcome: Outcome) -> None:
    """Who was left out, and what failed."""
    for name, why in outcome.left_out.items():
        _console.print(f"without {name}: {why}", highlight=False, markup=False)
    for line in outcome.failures:
        _console.print(f"failed: {line}", highlight=False, markup=False)


def keep(results: Mapping[str, Any], path: Path) -> Path:
    """Write results as JSON; where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, default=_plain) + "\n")
    return path


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(first)
    for column in others:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{value!r} cannot be kept")
