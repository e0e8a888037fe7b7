"""What is said of the jobs' figures, whichever of them were measured."""

from __future__ import annotations

from benchmarks.harness import Case, Outcome, Sample
from benchmarks.jobs import DRAINED, IDLE
from benchmarks.jobs.results import aims, rows
from benchmarks.options import parsed

IDLING = Case("Locum", IDLE.format(100_000))


def judged(*samples: Sample) -> dict[str, object]:
    return aims(rows(Outcome(list(samples))))


def test_an_idle_instance_is_judged_where_nothing_was_drained() -> None:
    (told,) = judged(Sample(IDLING, {"commits a second": 3.4})).items()
    assert told == ("commits a second of an idle instance (< 5)", 3.4)


def test_who_drains_is_compared_with_all_that_did() -> None:
    two = DRAINED.format(2)
    samples = [Sample(Case(label, two), {"runs a second": rate}) for label, rate in (("Locum", 300.0), ("other", 30.0))]
    assert judged(*samples) == {"drained by two: Locum / other (at least 10, if it begins none twice)": 10.0}


def test_cases_are_chosen_by_a_word_of_their_kind() -> None:
    some = parsed(["jobs", "--cases", "idle", "late"], ["jobs"])
    assert some.wants(IDLING)
    assert not some.wants(Case("Locum", DRAINED.format(2)))
    assert parsed(["jobs"], ["jobs"]).wants(Case("Locum", DRAINED.format(2)))
