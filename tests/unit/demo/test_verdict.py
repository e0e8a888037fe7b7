"""What was found becomes one object and, if it is not good enough, sentences."""

from dataclasses import replace

import pytest

from locum.demo.audit import Relayed, Takeover, Tally
from locum.demo.plan import Kind
from locum.demo.verdict import Result, Wanted

TAKEOVERS = [Takeover(kind.value, 12.5, 2 + place) for place, kind in enumerate(Kind)]
GOOD = Result(
    wanted=Wanted(seconds=10.0, kills=4, rate=50.0, instances=3),
    orders=Tally(created=500, due=500, published=500, lost=0, duplicated=0),
    overlap_ms=0.0,
    stale_writes=0,
    takeovers=TAKEOVERS,
    reused=[],
    unasked=[],
)


def with_orders(**changes: int) -> Result:
    return replace(GOOD, orders=replace(GOOD.orders, **changes))


def test_a_good_run_has_no_objection() -> None:
    assert GOOD.objections() == []


def test_a_good_run_may_have_takeovers_that_nobody_caused() -> None:
    assert replace(GOOD, unasked=[3]).objections() == []


@pytest.mark.parametrize(
    ("result", "word"),
    [
        (with_orders(lost=1, published=499), "not published"),
        (with_orders(duplicated=2), "more than once"),
        (with_orders(created=449), "449 of 500"),
        (with_orders(published=440), "440 of 500"),
        (replace(GOOD, overlap_ms=0.001), "0.001 ms"),
        (replace(GOOD, stale_writes=1), "lower than one before"),
        (replace(GOOD, takeovers=TAKEOVERS[:3]), "3 takeovers"),
        (replace(GOOD, takeovers=TAKEOVERS[:3]), "after: resigned."),
        (replace(GOOD, takeovers=[TAKEOVERS[0]] * 4), "after: instance-killed, frozen, resigned."),
        (replace(GOOD, reused=[7]), "token 7"),
        (replace(GOOD, relayed=Relayed(1, lost=(4, 9), twice=())), "2 orders did not reach the broker: 4, 9."),
        (replace(GOOD, relayed=Relayed(0, lost=tuple(range(25)), twice=())), "18, 19 and 5 more."),
    ],
)
def test_every_shortcoming_has_its_sentence(result: Result, word: str) -> None:
    assert any(word in sentence and sentence.endswith(".") for sentence in result.objections())


def test_fewer_kills_than_kinds_ask_for_the_first_kinds_only() -> None:
    wanted = replace(GOOD.wanted, kills=2)
    assert replace(GOOD, wanted=wanted, takeovers=TAKEOVERS[:2]).objections() == []
    assert replace(GOOD, wanted=wanted, takeovers=TAKEOVERS[1:3]).objections() != []


def test_what_was_sent_again_is_told_and_is_no_shortcoming() -> None:
    result = replace(GOOD, relayed=Relayed(3, lost=(), twice=(2,)))
    assert result.objections() == []
    assert result.to_dict()["relay"] == {"messages": 3, "lost": (), "twice": (2,)}


def test_the_object_has_exactly_these_names() -> None:
    assert GOOD.to_dict() == {
        "instances": 3,
        "seconds": 10.0,
        "orders": {"created": 500, "due": 500, "published": 500, "lost": 0, "duplicated": 0},
        "overlap_ms": 0.0,
        "stale_writes_accepted": 0,
        "takeovers": [
            {"kind": "worker-killed", "ms": 12.5, "token": 2},
            {"kind": "instance-killed", "ms": 12.5, "token": 3},
            {"kind": "frozen", "ms": 12.5, "token": 4},
            {"kind": "resigned", "ms": 12.5, "token": 5},
        ],
        "relay": None,
    }
