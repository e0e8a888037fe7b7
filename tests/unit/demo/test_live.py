"""The picture fits the terminal, however much there is to show."""

import io

import pytest
from rich.console import Console

from locum.demo.audit import Takeover, Tally
from locum.demo.live import Instance, Picture, draw, view_for
from locum.demo.orders import Counts
from locum.demo.verdict import Result, Wanted

WANTED = Wanted(seconds=30.0, kills=40, rate=50.0, instances=3)
SENTENCE = (
    "web-2 is active in grace_period (token 41): web-1 was killed (SIGKILL); 12 ms without an active, and then some."
)
FULL = Picture(
    wanted=WANTED,
    elapsed=12.0,
    instances=[
        Instance("web-1", "active", "token 41"),
        Instance("web-2", "stands by", "next"),
        Instance("web-3", "frozen"),
    ],
    counts=Counts(123_456, 123_000, 122_999),
    takeovers=[Takeover("instance-killed", 1234.5, token) for token in range(40)],
    sentences=[SENTENCE] * 20,
)


def drawn(picture: Picture, *, width: int, height: int) -> list[str]:
    file = io.StringIO()
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    console.print(draw(picture, height=height))
    return file.getvalue().rstrip("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (80, 60)])
def test_it_fits(width: int, height: int) -> None:
    lines = drawn(FULL, width=width, height=height)
    assert len(lines) < height
    assert max(map(len, lines)) <= width


def test_it_says_who_is_active_and_what_is_new() -> None:
    text = "\n".join(drawn(FULL, width=80, height=24))
    assert "● web-1  active" in text
    assert "○ web-2  stands by  next" in text
    assert "token 39" in text
    assert "40 of 40" in text
    assert "122,999 published" in text
    assert "web-2 is active in grace_period (token 41)" in text


def test_an_empty_picture_is_drawn_too() -> None:
    assert drawn(Picture(wanted=WANTED, elapsed=0.0), width=80, height=24)


def test_nothing_is_shown_beside_the_object(capsys: pytest.CaptureFixture[str]) -> None:
    view = view_for(as_json=True)
    view.begin(WANTED)
    view.tell(1.0, "something")
    view.show(FULL)
    view.end()
    assert capsys.readouterr() == ("", "")


def test_there_are_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    view = view_for(as_json=False)
    view.begin(WANTED)
    view.tell(1.0, SENTENCE)
    view.show(FULL)
    view.end()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"   1.0 s  {SENTENCE}"
    assert len(lines) == 2


@pytest.mark.parametrize("is_good", [True, False])
def test_the_report_says_what_was_found(capsys: pytest.CaptureFixture[str], is_good: bool) -> None:
    result = Result(
        wanted=WANTED,
        orders=Tally(created=500, due=480, published=479, lost=1, duplicated=2),
        overlap_ms=7.5,
        stale_writes=3,
        takeovers=[Takeover("frozen", 1234.5, 2), Takeover("frozen", 1000.0, 3)],
        reused=[],
        unasked=[4],
    )
    view_for(as_json=False).report(result, is_good=is_good)
    text = capsys.readouterr().out
    for words in ("500  orders were placed", "1  lost", "2  published twice", "7.5 ms", "1,234, 1,000 ms", "token [4]"):
        assert words in text
    assert ("exactly once" in text) is is_good
