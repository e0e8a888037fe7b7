"""The shared note: 50 callers at once, one of three servers killed, and no acknowledged mark is lost."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from examples.shared_note.run import CALLERS, NOTE, judge

if TYPE_CHECKING:
    from tests.faults.kit.places import Place


@pytest.mark.stores
def test_every_acknowledged_mark_is_there_once_in_the_order_of_tokens(place: Place) -> None:
    line = [sys.executable, str(NOTE.with_name("run.py")), place.url]
    done = subprocess.run(line, capture_output=True, text=True, timeout=110, check=False)
    told = done.stdout.splitlines()
    assert (done.returncode, done.stderr, told[4:]) == (
        0,
        "",
        ["every mark that was acknowledged is there once, in the order of the tokens"],
    ), done.stdout
    assert told[2].startswith(tuple(f"{number} marks were acknowledged" for number in range(CALLERS // 2, CALLERS + 1)))


@pytest.mark.parametrize(
    ("note", "wrong"),
    [
        ("1 a\n2 b\n3 c\n", []),
        ("1 a\n2 b\n", []),
        ("1 a\n3 c\n", ["b was acknowledged, and is not there"]),
        ("1 a\n2 b\n3 b\n", ["b is there 2 times", "b was acknowledged under token 2, and stands under 3"]),
        ("2 b\n1 a\n", ["the tokens do not grow: [2, 1]"]),
        ("1 a\n2 b\n2 c\n", ["the tokens do not grow: [1, 2, 2]"]),
        ("1 a\n2 b\n3 d\n", ["d is there, and nobody has sent it"]),
    ],
)
def test_what_is_wrong_with_a_note_is_told(note: str, wrong: list[str]) -> None:
    assert judge(note, {"a": "1", "b": "2"}, {"a", "b", "c"}) == wrong
