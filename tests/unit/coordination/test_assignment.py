"""Which instance each shard belongs to (H07): properties of the pure function."""

from __future__ import annotations

import math
import random
import time
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from locum.coordination.assignment import (
    Attendance,
    assign,
    check_shards,
    least_moves,
    moves,
    shard_of,
)
from locum.errors import ConfigurationError

NAMES = [f"web-{number}" for number in range(8)]
capacities = st.dictionaries(st.sampled_from(NAMES), st.integers(1, 4).map(float), min_size=1)
equal = st.sets(st.sampled_from(NAMES), min_size=1).map(lambda names: dict.fromkeys(sorted(names), 1.0))
owners = st.lists(st.none() | st.sampled_from([*NAMES, "gone"]), min_size=1, max_size=80)


@given(owners, capacities)
def test_h07_every_share_is_the_ideal_one_rounded_down_or_up(now: list[str | None], there: dict[str, float]) -> None:
    plan = assign(now, there)
    whole = sum(there.values())
    for name, capacity in there.items():
        ideal = len(now) * capacity / whole
        assert math.floor(ideal + 1e-9) <= plan.count(name) <= math.ceil(ideal - 1e-9)
    assert set(plan) <= set(there)


@given(owners, equal)
def test_h07_of_equals_nobody_has_two_more_than_another(now: list[str | None], there: dict[str, float]) -> None:
    counts = [assign(now, there).count(name) for name in there]
    assert max(counts) - min(counts) <= 1


@given(owners, capacities)
def test_h07_no_shard_moves_without_need(now: list[str | None], there: dict[str, float]) -> None:
    assert moves(now, assign(now, there)) == least_moves(now, there)


@given(owners, capacities)
def test_h07_a_plan_is_its_own_plan(now: list[str | None], there: dict[str, float]) -> None:
    plan = assign(now, there)
    assert assign(plan, there) == plan


def test_the_fewest_moves_are_those_that_trying_all_plans_finds() -> None:
    there = {"a": 1.0, "b": 1.0, "c": 1.0}
    for now in product(["a", "b", "c", "gone"], repeat=5):
        fair = [plan for plan in product(there, repeat=5) if all(1 <= plan.count(name) <= 2 for name in there)]
        assert least_moves(now, there) == min(moves(now, plan) for plan in fair)


def test_h07_1024_shards_on_20_instances_take_little() -> None:
    chance = random.Random(7)
    there = {f"web-{number}": float(chance.randint(1, 3)) for number in range(20)}
    now = [chance.choice([*there, "gone", None]) for _ in range(1024)]
    least = math.inf
    for _ in range(20):  # the fastest of some: what else runs on this machine is not its doing
        begun = time.perf_counter()
        assign(now, there)
        least = min(least, time.perf_counter() - begun)
    assert least <= 0.005


def test_nobody_there_is_nobodys_shard() -> None:
    assert assign(["a", None], {}) == [None, None]


def test_a_key_has_its_shard_for_good() -> None:
    """What is written down here holds in every release: keys that moved would be done by two."""
    assert [shard_of(key, 64) for key in ("customer-1", "customer-2", b"customer-1", "\u00e9")] == KNOWN
    counts = [0] * 64
    for number in range(6400):
        counts[shard_of(f"order-{number}", 64)] += 1
    assert min(counts) > 50
    assert max(counts) < 150


KNOWN = [61, 19, 61, 47]


@pytest.mark.parametrize("of", [0, -1, 4097])
def test_there_cannot_be_so_many(of: int) -> None:
    with pytest.raises(ConfigurationError, match="1 to 4096"):
        check_shards(of)


def test_who_comes_first_waits_for_nobody() -> None:
    attendance = Attendance(join_delay=10, return_delay=0)
    assert attendance.counted({"a": 1.0}, {}, 0) == ({"a": 1.0}, None)


def test_who_joins_is_waited_out() -> None:
    attendance = Attendance(join_delay=10, return_delay=0)
    here, planned = {"a": 1.0, "b": 1.0}, {"a": 1.0}
    assert attendance.counted(here, planned, 5) == ({"a": 1.0}, 10)
    assert attendance.counted(here, planned, 12) == ({"a": 1.0}, 3)
    assert attendance.counted({"a": 1.0}, planned, 13) == ({"a": 1.0}, None)  # it went: its time begins anew
    assert attendance.counted(here, planned, 15) == ({"a": 1.0}, 10)
    assert attendance.counted(here, planned, 25) == (here, None)


def test_whose_name_may_come_back_is_kept_its_place() -> None:
    attendance = Attendance(join_delay=0, return_delay=10)
    planned = {"a": 1.0, "b": 2.0}
    assert attendance.counted({"a": 1.0}, planned, 0) == (planned, 10)
    assert attendance.counted(planned, planned, 8) == (planned, None)
    assert attendance.counted({"a": 1.0}, planned, 9) == (planned, 10)
    assert attendance.counted({"a": 1.0}, planned, 19) == ({"a": 1.0}, None)
