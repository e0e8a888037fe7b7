"""Whose turn it is, as tables: how many claim windows to wait, and behind whom."""

from __future__ import annotations

import pytest

from locum.coordination.turn import ALONE, Manner, Permit, Read


@pytest.mark.parametrize(
    ("manner", "alone", "shares", "ahead", "windows"),
    [
        (ALONE, False, 0, 0, 0),
        (ALONE, False, 0, 2, 2),
        (ALONE, True, 0, 0, None),
        (ALONE, False, 1, 0, None),
        (Read(3), False, 0, 0, 0),
        (Read(3), False, 2, 0, 0),
        (Read(3), False, 3, 0, None),
        (Read(3), True, 0, 0, None),
        # behind a writer: not as long as others read, and then only if it does not take it
        (Read(3), False, 1, 1, None),
        (Read(3), False, 0, 1, 1),
        (Permit(2), False, 0, 0, 0),
        (Permit(2), False, 0, 1, 0),
        (Permit(2), False, 1, 1, 1),
        (Permit(2), False, 2, 0, None),
    ],
)
def test_how_long_to_wait(manner: Manner, alone: bool, shares: int, ahead: int, windows: int | None) -> None:
    assert manner.windows(alone=alone, shares=shares, ahead=ahead) == windows


def test_f63_readers_wait_behind_writers_and_not_behind_readers() -> None:
    read = Read(3)
    assert read.waits_behind(ALONE.name), "a reader goes before a writer that waits"
    assert not read.waits_behind(read.name)
    assert ALONE.waits_behind(read.name)
    assert Permit(2).waits_behind("permit")
