"""Scheduled jobs of Locum and of others, on one PostgreSQL, in one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks import machine, report
from benchmarks.harness import interleave
from benchmarks.jobs.results import aims, rows
from benchmarks.jobs.subjects import CONTENDERS, JobSubject
from tests.servers.postgresql import Postgresql

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.options import Options

__all__ = ["measure"]

_ORDINARY: Final = {  # as a server has it that is not a test's
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "top",
    "shared_buffers": "128MB",
    "autovacuum": "on",
}


def measure(folder: Path, options: Options) -> tuple[list[Path], bool]:
    """Run the family.

    Args:
        folder: For what the subjects write.
        options: How.

    Returns:
        What was written, and whether nothing failed.
    """
    facts = machine.facts(folder)
    server = Postgresql(settings=_ORDINARY, on_disk=True)
    server.start()
    try:
        server.run("CREATE EXTENSION pg_stat_statements")
        everybody = [
            JobSubject(
                contender,
                python=options.peers_python,
                server=server,
                seconds=options.fires_for,
                schedules=options.schedules,
                folder=folder,
            )
            for contender in CONTENDERS
        ]
        for one in everybody:
            one.cases = tuple(case for case in one.cases if options.wants(case))
        chosen = [one for one in options.chosen(everybody) if one.cases]
        outcome = interleave(chosen, options.rounds, seed=options.seed, say=options.say)
    finally:
        server.stop()
    found = rows(outcome)
    report.show_machine(machine.describe(facts))
    report.show_jobs(found)
    judged = aims(found)
    report.show_costs("wanted", judged)
    report.show_missing(outcome)
    results: dict[str, Any] = {
        **options.facts("jobs", facts, outcome),
        "versions": sorted({one.version for one in chosen if one.version and one.name not in outcome.left_out}),
        "rows": found,
        "wanted": judged,
    }
    return [report.keep(results, options.out / "jobs.json")], not outcome.failures
