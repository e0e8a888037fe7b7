"""The locks' family, small: real processes at a lock, many locks at once, and a watch of members."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import report
from benchmarks.harness import Case, Outcome, Sample, interleave
from benchmarks.locks import ALONE, EIGHT, MANY, WATCHED
from benchmarks.locks.results import rows, watches
from benchmarks.locks.subjects import CONTENDERS, WATCHERS, LockSubject, WatchSubject
from benchmarks.locks.turns import Turns

if TYPE_CHECKING:
    from benchmarks.harness import Subject


@pytest.mark.timeout(300)
def test_a_small_run_tells_of_turns_of_many_locks_and_of_members(tmp_path: Path) -> None:
    """On a file; a peer whose library is not there is left out with a reason."""
    options: dict[str, Any] = {
        "python": Path(sys.executable),
        "ttl": 3.0,
        "seconds": 0.5,
        "folder": tmp_path,
        "many": 20,
    }
    sqlite, peer = CONTENDERS[0], next(one for one in CONTENDERS if one.library == "python-redis-lock")
    subjects: list[Subject] = [
        LockSubject(sqlite, **options),
        WatchSubject(WATCHERS[0], **options),
        LockSubject(peer, **options),
    ]
    outcome = interleave(subjects, 1, seed=5)
    assert outcome.failures == []
    assert list(outcome.left_out) == ["python-redis-lock"]
    found = {row.case.kind: row for row in rows(outcome)}
    assert set(found) == {ALONE, EIGHT, MANY}
    assert set(found[MANY].figures) == {"taken a second", "given back a second", "calls a second, holding"}
    assert all(row.overlaps == 0 for row in found.values())
    (watched,) = watches(outcome)
    assert watched.figures["join ms"].n == watched.figures["leave ms"].n == 100
    assert watched.figures["calls a change, joiner"].p50 >= 1, "who changes something asks the store"
    assert watched.figures["calls a change, watcher"].p50 >= 1, "who is told has looked"
    report.show_locks(rows(outcome))
    report.show_watches(watches(outcome))


def test_watches_stand_apart_from_turns_the_soonest_first() -> None:
    outcome = Outcome()
    for label, ms in (("slow", 9.0), ("quick", 1.0)):
        outcome.samples.append(Sample(Case(label, WATCHED), {"join ms": ms, "leave ms": ms}))
        outcome.samples.append(Sample(Case(label, MANY), {"taken a second": 1 / ms, "given back a second": 1.0}))
    assert [row.case.label for row in watches(outcome)] == ["quick", "slow"]
    assert [(row.case.label, row.case.kind) for row in rows(outcome)] == [("quick", MANY), ("slow", MANY)]


def test_locks_that_only_seem_to_be_held_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"SERVER": "", "SCOPE": "a", "TTL": "5", "MANY": "3", "SECONDS": "1"}
    for name, value in given.items():
        monkeypatch.setenv(f"BENCH_{name}", value)
    with pytest.raises(AssertionError, match="2 of 3 locks are held"):
        Turns().hold_many([True, False, True])
