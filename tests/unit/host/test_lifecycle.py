"""Who waits for whom, and how long each step may take: decided without I/O, so tried by the hundred."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.clock import nanoseconds
from locum.errors import ConfigurationError
from locum.host.lifecycle import Order, Phase, StopTimes

NAMES = "abcdefgh"


@st.composite
def orders(draw: st.DrawFn) -> dict[str, set[str]]:
    """Any order without a circle: each comes after some of those that were drawn before it, in any order of naming."""
    names = draw(st.permutations(NAMES))
    after = {
        name: draw(st.sets(st.sampled_from(names[:place]))) if place else set() for place, name in enumerate(names)
    }
    return {name: after[name] for name in NAMES}


def one_by_one(data: st.DataObject, following: object) -> list[tuple[str, set[str], set[str]]]:
    """Let any of those that go end next: each name as it begins, with what had begun and was done by then."""
    steps, begun, done, going = [], set[str](), set[str](), list[str]()
    while True:
        for name in following(begun, done):  # type: ignore[operator]
            steps.append((name, set(begun), set(done)))
            begun.add(name)
            going.append(name)
        if not going:
            return steps
        done.add(going.pop(data.draw(st.integers(0, len(going) - 1))))


@given(orders(), st.data())
def test_each_starts_once_when_all_that_it_comes_after_are_done_and_waits_for_nothing_else(
    after: dict[str, set[str]], data: st.DataObject
) -> None:
    order = Order(after)

    def following(begun: set[str], done: set[str]) -> list[str]:
        found = order.startable(begun, done)
        assert {*begun, *found} == {*begun, *(name for name in NAMES if after[name] <= done)}
        return found

    steps = one_by_one(data, following)
    assert sorted(name for name, *_ in steps) == list(NAMES)
    for name, _, done in steps:
        assert after[name] <= done


@given(orders(), st.sets(st.sampled_from(NAMES)), st.data())
def test_the_way_back_is_the_way_there_in_reverse_among_those_that_were_started(
    after: dict[str, set[str]], among: set[str], data: st.DataObject
) -> None:
    order = Order(after)
    steps = one_by_one(data, lambda begun, done: order.stoppable(among, begun, done))
    assert sorted(name for name, *_ in steps) == sorted(among)
    for name, _, done in steps:
        assert {other for other in among if name in after[other]} <= done


def test_what_needs_nothing_goes_at_once_in_the_order_of_declaration() -> None:
    order = Order({"a": [], "b": ["a"], "c": []})
    assert order.startable(set(), set()) == ["a", "c"]
    assert order.startable({"a", "c"}, {"c"}) == []
    assert order.startable({"a", "c"}, {"a"}) == ["b"]
    assert order.stoppable({"a", "b", "c"}, set(), set()) == ["c", "b"]


@given(orders(), st.data())
def test_a_circle_is_named(after: dict[str, set[str]], data: st.DataObject) -> None:
    first = data.draw(st.sampled_from(NAMES))
    last = data.draw(st.sampled_from(sorted(Order(after).with_dependants([first]))))
    with pytest.raises(ConfigurationError, match="nobody could be first") as error:
        Order({**after, first: {*after[first], last}})
    circle = str(error.value).partition(":")[0].split(" after ")
    assert circle[0] == circle[-1]
    made = {**after, first: {*after[first], last}}
    assert all(other in made[name] for name, other in pairwise(circle))


def test_what_is_no_service_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"b comes after 'c', which is no service of this host: it has a, b"):
        Order({"a": [], "b": ["c"]})


@given(orders(), st.dictionaries(st.sampled_from(NAMES), st.integers(0, 50)))
def test_the_longest_chain_is_as_long_as_a_start_in_which_each_takes_its_time(
    after: dict[str, set[str]], some: dict[str, int]
) -> None:
    durations = {name: float(some.get(name, 1)) for name in NAMES}

    def ends(name: str) -> float:
        return durations[name] + max(map(ends, after[name]), default=0.0)

    assert Order(after).longest(durations) == max(map(ends, NAMES))


def test_who_comes_after_somebody_round_about_begins_anew_with_it() -> None:
    order = Order({"a": [], "b": ["a"], "c": ["b"], "d": []})
    assert order.with_dependants(["a"]) == {"a", "b", "c"}
    assert order.with_dependants(["d"]) == {"d"}


@given(st.floats(0.1, 100), st.floats(1, 100), st.lists(st.floats(0, 50), max_size=4))
def test_no_step_is_given_more_than_is_left_of_the_services_time_and_of_the_hosts(
    own: float, host: float, taken: list[float]
) -> None:
    now, times = 0, StopTimes(0, limits={"a": own}, host=host)
    left = own
    for duration in taken:
        limit = times.limit("a", Phase.STOP, now=now)
        assert 0 <= limit <= max(0.0, left) + 1e-6
        assert limit <= max(0.0, host - now / 1e9) + 1e-6
        spent = min(duration, limit)
        now += nanoseconds(spent)
        left -= spent
        times.spend("a", nanoseconds(spent))


def test_bodies_leave_some_of_the_hosts_time_for_what_comes_after_them() -> None:
    times = StopTimes(0, limits={"a": 100.0}, host=60.0)
    assert times.limit("a", Phase.STOP, now=0) == 55.0
    times.spend("a", nanoseconds(100))
    assert times.limit("a", Phase.STOPPED, now=nanoseconds(56)) == pytest.approx(4.0)
    assert times.limit("a", Phase.STOPPED, now=nanoseconds(61)) == 0.0


def test_a_host_takes_as_long_as_its_longest_chain_and_its_drain() -> None:
    order = Order({"a": [], "b": ["a"], "c": []})
    assert StopTimes.host_limit(order, {"a": 10.0, "b": 20.0, "c": 25.0}, drain=7.0) == 10 + 20 + 7 + 5
