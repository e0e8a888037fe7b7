"""The judges find what is planted, and nothing in what is clean."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.faults.kit import judges
from tests.faults.kit.rows import Row, RowFile

if TYPE_CHECKING:
    from pathlib import Path


def row(at: int, pid: int, token: int, who: str) -> Row:
    return Row(token, at, pid, who)


CLEAN = [
    row(10, 1, 1, "body"),
    row(11, 5, 1, "fork"),
    row(12, 1, 1, "end"),
    row(20, 2, 2, "body"),
    row(21, 2, 2, "body"),
    row(30, 1, 4, "body"),
]


def test_clean_rows_have_no_faults() -> None:
    assert judges.faults(CLEAN) == []


def test_old_row_after_new_one_is_a_fall() -> None:
    rows = [*CLEAN[:4], row(19, 1, 1, "body"), *CLEAN[4:]]
    assert len(judges.falls(rows)) == 1
    assert "at=19" in judges.falls(rows)[0]


def test_a_childs_row_counts_too() -> None:
    assert len(judges.falls([*CLEAN, row(31, 5, 1, "fork")])) == 1


def test_falling_token_is_a_fall() -> None:
    assert len(judges.falls([*CLEAN, row(40, 9, 3, "body")])) == 1


def test_overlap_of_clocks_is_found_where_the_order_is_right() -> None:
    rows = [row(10, 1, 1, "body"), row(16, 1, 1, "body"), row(15, 2, 2, "body")]
    assert judges.falls(rows) == []
    assert len(judges.overlaps(rows)) == 1


def test_end_at_the_same_instant_is_an_overlap() -> None:
    assert len(judges.overlaps([row(10, 1, 1, "end"), row(10, 2, 2, "body")])) == 1


def test_two_bodies_under_one_token_are_twins() -> None:
    assert judges.twins([*CLEAN, row(40, 9, 4, "body")]) == ["token 4 was used by the processes [1, 9]"]
    assert judges.twins([*CLEAN, row(40, 9, 4, "fork")]) == []


def test_rows_after_an_instant() -> None:
    assert judges.rows_after(CLEAN, 1, 12) == []
    assert len(judges.rows_after(CLEAN, 1, 11)) == 1
    assert judges.rows_after(CLEAN, 9, 0) == []


def test_gap_is_negative_for_an_overlap() -> None:
    assert judges.gap(CLEAN, 1, 2) == 8
    assert judges.gap([row(10, 1, 1, "body"), row(8, 2, 2, "body")], 1, 2) == -2


def test_file_is_read_on_and_half_rows_are_left_for_later(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "rows")
    assert file.read() == []
    fd = os.open(file.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"1 7 1 body\n2 7 1 bo")
    assert file.read() == [row(1, 7, 1, "body")]
    os.write(fd, b"dy\n3 8 2 body\n")
    os.close(fd)
    assert file.read() == [row(2, 7, 1, "body"), row(3, 8, 2, "body")]
    assert file.last() == row(3, 8, 2, "body")
    assert file.first_of_newer(1) == row(3, 8, 2, "body")
    assert file.last_of(1) == row(2, 7, 1, "body")
