"""From rows to numbers: every way in which two may work at once is counted, for all subjects alike."""

from __future__ import annotations

import pytest

from benchmarks.takeover.judgement import Mark, successor, values

MS = 1_000_000


def marks(*written: tuple[int, int]) -> list[Mark]:
    """Rows by their instants (ms) and owners, as they were written."""
    return [Mark(at * MS, owner) for at, owner in written]


def test_a_takeover_counts_from_the_injury() -> None:
    found = values(marks((1, 7), (2, 7), (10, 8), (11, 8)), 7, 4 * MS)
    assert found == {"ms": 6.0, "gap ms": 8.0, "overlap rows": 0, "overlap ms": 0.0}


def test_rows_of_the_old_one_until_its_successor_works_are_no_overlap() -> None:
    found = values(marks((1, 7), (5, 7), (9, 7), (10, 8)), 7, 4 * MS)
    assert (found["gap ms"], found["overlap rows"]) == (1.0, 0)


def test_an_old_one_that_works_on_is_counted_from_when_it_could() -> None:
    rows = marks((1, 7), (10, 8), (30, 7), (31, 8), (32, 7))
    assert values(rows, 7, 4 * MS)["overlap ms"] == 22.0
    found = values(rows, 7, 4 * MS, resumed=29 * MS)
    assert (found["overlap rows"], found["overlap ms"]) == (2, 3.0)


def test_a_row_that_was_begun_before_the_freeze_and_written_after_it_is_counted() -> None:
    found = values(marks((1, 7), (10, 8), (3, 7)), 7, 4 * MS, resumed=20 * MS)
    assert (found["overlap rows"], found["overlap ms"]) == (1, 0.0)


def test_two_successors_at_once_are_counted() -> None:
    found = values(marks((1, 7), (10, 8), (11, 9), (12, 8), (13, 9)), 7, 4 * MS)
    assert (found["ms"], found["overlap rows"], found["overlap ms"]) == (6.0, 2, 3.0)


def test_whoever_worked_before_the_injury_is_no_successor() -> None:
    rows = marks((1, 6), (2, 7), (5, 7))
    assert successor(rows, 7, 4 * MS) is None
    with pytest.raises(AssertionError, match="nobody has taken over"):
        values(rows, 7, 4 * MS)
