"""What is public of the judges: rows from a file, and from a table that knows no more than tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from locum.testing import Ledger, Row, judge

if TYPE_CHECKING:
    from pathlib import Path


def test_rows_come_back_in_the_order_of_writing(tmp_path: Path) -> None:
    ledger, another = Ledger(tmp_path / "ledger"), Ledger(tmp_path / "ledger")
    assert ledger.rows() == []
    ledger.write(1)
    another.write(2, "end")
    rows = Ledger(str(tmp_path / "ledger")).rows()
    assert [(row.token, row.who) for row in rows] == [(1, "body"), (2, "end")]
    assert rows[0].at <= rows[1].at
    assert judge(rows) == []
    with ledger.path.open("ab") as file:
        file.write(b"12 3")  # somebody is writing it at this moment
    assert ledger.rows() == rows


def test_tokens_alone_show_a_fall() -> None:
    assert judge(Row(token) for token in (1, 1, 2, 4)) == []
    assert len(judge(Row(token) for token in (1, 2, 1))) == 1


def test_what_is_unknown_is_not_judged() -> None:
    assert judge([Row(1, pid=7), Row(1), Row(2, at=5), Row(3)]) == []
    assert len(judge([Row(1, pid=7), Row(1, pid=8)])) == 1
    assert len(judge([Row(1, at=6), Row(2, at=5)])) == 1
