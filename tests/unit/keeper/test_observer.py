"""Foreign beats on one's own clock, as a table of answers and verdicts (R7, R8)."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from locum.keeper.observer import Observer
from locum.store import Sessions, SessionState, SessionStatus

TTL = 100


@dataclass(frozen=True)
class Answer:
    """What the store said of the session `s`, and when the answer arrived."""

    arrived: int
    beat: int | None = 1
    incarnation: str = "store"
    state: SessionState = SessionState.OPEN
    id: str = "s"
    ttl: int = TTL
    there: bool = True


def verdicts(*answers: Answer, own: str | None = "mine") -> list[list[tuple[str, int, int]]]:
    observer = Observer()
    found = []
    for answer in answers:
        status = SessionStatus(answer.id, answer.state, b"", answer.ttl, answer.beat)
        sessions = Sessions({answer.id: status} if answer.there else {}, 1, answer.incarnation, answer.ttl)
        silent = observer.see(sessions, arrived=answer.arrived, own=own)
        found.append([(one.id, one.beat, one.waited) for one in silent])
    return found


SILENT = [("s", 1, TTL)]


@pytest.mark.parametrize(
    ("answers", "last"),
    [
        pytest.param([Answer(0)], [], id="one sight proves nothing"),
        pytest.param([Answer(10_000)], [], id="however late it comes"),
        pytest.param([Answer(0), Answer(99)], [], id="not before the TTL is over"),
        pytest.param([Answer(0), Answer(100)], SILENT, id="after a whole TTL of one beat"),
        pytest.param([Answer(50), Answer(149)], [], id="counted from the first arrival"),
        pytest.param(
            [Answer(0), Answer(40), Answer(80), Answer(100)], SILENT, id="looks between do not start it again"
        ),
        pytest.param([Answer(0), Answer(99, beat=2), Answer(198, beat=2)], [], id="another beat starts it again"),
        pytest.param([Answer(0), Answer(99, beat=2), Answer(199, beat=2)], [("s", 2, TTL)], id="and ends on that beat"),
        pytest.param([Answer(0, beat=5), Answer(100, beat=4)], [], id="a smaller beat is another beat"),
        pytest.param([Answer(0), Answer(100, incarnation="new")], [], id="another incarnation starts it again"),
        pytest.param([Answer(0), Answer(50, there=False), Answer(100)], [], id="so does a gap"),
        pytest.param([Answer(0, beat=None), Answer(999, beat=None)], [], id="a native session never"),
        pytest.param([Answer(0, id="mine"), Answer(999, id="mine")], [], id="our own never"),
        pytest.param(
            [Answer(0, state=SessionState.CLOSED), Answer(999, state=SessionState.CLOSED)], [], id="a closed one never"
        ),
        pytest.param(
            [Answer(0, state=SessionState.UNKNOWN), Answer(999, state=SessionState.UNKNOWN)], [], id="an unknown never"
        ),
        pytest.param([Answer(0, ttl=500), Answer(499, ttl=500)], [], id="its own TTL counts"),
    ],
)
def test_who_may_be_closed(answers: list[Answer], last: list[tuple[str, int, int]]) -> None:
    *before, now = verdicts(*answers)
    assert not any(before)
    assert now == last


def test_a_silent_session_stays_silent_until_it_is_gone() -> None:
    assert verdicts(Answer(0), Answer(100), Answer(130), Answer(131, there=False)) == [
        [],
        SILENT,
        [("s", 1, 130)],
        [],
    ]


def test_a_new_session_of_our_own_is_not_observed_and_the_old_one_is() -> None:
    observer = Observer()

    def see(own: str, arrived: int) -> list[str]:
        both = {name: SessionStatus(name, SessionState.OPEN, b"", TTL, 7) for name in ("old", "new")}
        return [one.id for one in observer.see(Sessions(both, 1, "store", TTL), arrived=arrived, own=own)]

    assert see("old", 0) == []
    assert see("new", 99) == []
    assert see("new", 199) == ["old"]
