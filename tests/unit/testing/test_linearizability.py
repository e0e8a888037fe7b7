"""The checker of histories: it rejects published bad ones, and what is made bad; it lets good ones pass."""

from __future__ import annotations

import math
import random
from itertools import permutations
from pathlib import Path

import pytest

from locum.testing.linearizability import UNKNOWN, Call, counter, judge, judge_each, register

HISTORIES = Path(__file__).parent / "histories"


def read(name: str) -> list[Call]:
    """A published history."""
    open_calls: dict[str, tuple[int, tuple[object, ...]]] = {}
    calls = []
    for at, line in enumerate((HISTORIES / name).read_text().splitlines()):
        client, kind, what, *value = line.split(maxsplit=3)
        if kind == "invoke":
            numbers = [int(one) for one in value[0].strip("[]").split()] if value != ["nil"] else []
            open_calls[client] = (at, (what, *numbers))
        elif kind in ("ok", "fail"):
            asked, call = open_calls.pop(client)
            result = (None if value == ["nil"] else int(value[0])) if what == "read" else kind == "ok"
            calls.append(Call(asked, at, call, result, client))
    unanswered = [Call(asked, math.inf, call, UNKNOWN, client) for client, (asked, call) in open_calls.items()]
    return calls + unanswered


@pytest.mark.parametrize("name", ["etcd_000_bad.txt", "etcd_001_bad.txt", "etcd_003_bad.txt"])
def test_a_published_bad_history_is_rejected(name: str) -> None:
    verdict = judge(read(name), register)
    assert not verdict
    assert verdict.stuck
    assert len(verdict.order) < len(read(name))


@pytest.mark.parametrize("name", ["etcd_002_good.txt", "etcd_005_good.txt", "etcd_038_good.txt"])
def test_a_published_good_history_passes(name: str) -> None:
    verdict = judge(read(name), register)
    assert verdict
    assert len(verdict.order) == len(read(name))


def test_what_textbooks_say() -> None:
    # MIT 6.824, quiz 2 of 2017, section VII
    write = Call(0, 100, ("write", 100))
    assert judge([write, Call(25, 75, ("read",), 100), Call(30, 60, ("read",), 0)], register, 0)
    write = Call(0, 100, ("write", 200))
    assert not judge([write, Call(10, 30, ("read",), 200), Call(40, 90, ("read",), 0)], register, 0)


def test_a_call_without_an_answer_may_come_late_or_never() -> None:
    write = Call(0, math.inf, ("write", 1), UNKNOWN)
    for seen in ([0, 0], [0, 1], [1, 1]):
        reads = [Call(10 * at, 10 * at + 5, ("read",), value) for at, value in enumerate(seen, 1)]
        assert judge([write, *reads], register, 0)
    assert not judge([write, Call(10, 15, ("read",), 1), Call(20, 25, ("read",), 0)], register, 0)


def test_what_is_counted_twice_or_lost_is_found() -> None:
    adds = [Call(at, at + 1.5, ("add", 1), at + 1) for at in range(5)]
    assert judge([*adds, Call(10, 11, ("read",), 5)], counter)
    for wrong in (4, 6):
        assert not judge([*adds, Call(10, 11, ("read",), wrong)], counter)
    found = judge_each({"a": adds, "b": [Call(0, 1, ("add", 1), 2)]}, counter)
    assert list(found) == ["b"]


def test_it_finds_what_trying_all_orders_finds() -> None:
    """Small histories, of which each order can be tried."""
    dice = random.Random(7)
    seen = set()
    for _ in range(600):
        calls = []
        for _ in range(5):
            asked = dice.randrange(10)
            what = dice.choice([("read",), ("write", dice.randrange(2)), ("cas", dice.randrange(2), dice.randrange(2))])
            result = dice.choice([0, 1]) if what == ("read",) else dice.choice([True, False])
            calls.append(Call(asked, asked + dice.randrange(1, 8), what, result))

        def works(order: tuple[Call, ...]) -> bool:
            state: object = 0
            for at, call in enumerate(order):
                if any(later.answered < call.asked for later in order[at + 1 :]):
                    return False
                can_be, state = register(state, call)
                if not can_be:
                    return False
            return True

        expected = any(works(order) for order in permutations(calls))
        seen.add(expected)
        assert bool(judge(calls, register, 0)) == expected
    assert seen == {True, False}
