"""Plans and what an instance is to do about them: decisions without I/O."""

from __future__ import annotations

import pytest

from locum.coordination.grant import Grant, Holder
from locum.coordination.plan import Look, Participant, Plan, Wishing
from locum.store import Record

PATIENCE = 100


def plan(*owners: str | None) -> Plan:
    return Plan(3, owners, {name: 1.0 for name in owners if name}, "a")


def held(by: str, revision: int = 1) -> Grant:
    return Grant(1, Holder(f"session-of-{by}", "attempt", by, ""), revision=revision)


def look(planned: Plan, grants: dict[int, Grant] | None = None, here: str = "ab", leaving: str = "") -> Look:
    return Look(
        planned,
        grants or {},
        {name: Participant(name, leaving=name in leaving, session=f"session-of-{name}") for name in here},
    )


def wishing(of: int = 3) -> Wishing:
    return Wishing("a", of, patience=PATIENCE)


def record(value: bytes) -> Record:
    return Record("shard-plan/orders", value, 7, 1, None)


def test_a_plan_comes_back_as_it_was_written() -> None:
    written = plan("a", None, "b", "a")
    read = Plan.of(record(written.to_bytes()), shards=4)
    assert (read, dict(read.capacities), read.revision) == (written, {"a": 1.0, "b": 1.0}, 7)


@pytest.mark.parametrize("value", [b"", b"[]", b"{}", b'{"epoch": 1, "instances": ["a"], "owners": [4]}'])
def test_what_is_no_plan_plans_nothing_and_can_be_written_over(value: bytes) -> None:
    assert Plan.of(record(value)) == Plan()
    assert Plan.of(record(value)).revision == 7


def test_a_plan_for_another_number_of_shards_plans_nothing() -> None:
    assert Plan.of(record(plan("a").to_bytes()), shards=2).owners == ()


def test_what_is_planned_for_us_is_taken_the_free_ones_first() -> None:
    found = wishing().wish(look(plan("a", "b", "a"), {0: held("b")}), [], 0, pauses={}, dead=[])
    assert (found.take, found.shed) == ((2, 0), {})


def test_what_is_planned_for_another_who_is_there_is_given_up() -> None:
    assert wishing().wish(look(plan("a", "b", "b")), [0, 1], 0, pauses={}, dead=[]).shed == {1: "b"}


def test_h04_a_plan_that_does_not_count_us_is_not_heeded() -> None:
    assert wishing().wish(look(plan("b", "b", "b")), [0, 1], 0, pauses={}, dead=[]).shed == {}


def test_h04_whom_a_plan_has_forgotten_keeps_what_it_has_and_orphans_keep_their_owners() -> None:
    seen = look(plan("b", "b", "gone", "b", None), {0: held("a"), 1: held("b"), 2: held("b"), 3: held("gone")})
    assert seen.forgotten == {"a": 1.0}
    assert seen.before(["a", "b"], 5) == ["a", "b", "b", "b", None]


def test_who_leaves_is_not_forgotten() -> None:
    seen = look(plan("b", "b"), {0: held("a")}, leaving="a")
    assert seen.forgotten == {}
    assert seen.before(["b"], 2) == ["b", "b"]


@pytest.mark.parametrize(("here", "leaving"), [("a", ""), ("ab", "b")])
def test_what_is_planned_for_nobody_who_is_there_is_kept(here: str, leaving: str) -> None:
    seen = look(plan("a", "b", None), here=here, leaving=leaving)
    assert wishing().wish(seen, [0, 1, 2], 0, pauses={}, dead=[]).shed == {}


def test_h04_an_orphan_is_taken_when_nobody_plans_it_for_long() -> None:
    mind, seen = wishing(1), look(plan("gone"), {0: held("gone")}, here="a")
    first = mind.wish(seen, [], 10, pauses={}, dead=[])
    assert (first.take, first.again) == ((), PATIENCE)
    assert mind.wish(seen, [], 10 + PATIENCE - 1, pauses={}, dead=[]).take == ()
    assert mind.wish(seen, [], 10 + PATIENCE, pauses={}, dead=[]).take == (0,)


def test_orphans_are_not_taken_by_all_at_once() -> None:
    seen = look(plan("gone", "gone"), here="ab")
    mind = Wishing("b", 2, patience=PATIENCE)
    mind.wish(seen, [], 0, pauses={}, dead=[])
    assert mind.wish(seen, [], PATIENCE, pauses={}, dead=[]).take == (1,)
    assert mind.wish(seen, [], 2 * PATIENCE, pauses={}, dead=[]).take == (0, 1)


def test_what_somebody_holds_who_is_there_is_no_orphan() -> None:
    mind, seen = wishing(1), look(plan("gone"), {0: held("b")})
    mind.wish(seen, [], 0, pauses={}, dead=[])
    assert mind.wish(seen, [], 100 * PATIENCE, pauses={}, dead=[]).take == ()


def test_who_came_back_under_its_name_has_nothing_of_what_it_had() -> None:
    mind, seen = wishing(1), look(plan(None), {0: held("a", revision=2)})
    assert seen.has(0) == "a"
    came_back = Look(seen.plan, seen.grants, {"a": Participant("a", session="another")})
    assert came_back.has(0) is None
    mind.wish(came_back, [], 0, pauses={}, dead=[])
    assert mind.wish(came_back, [], PATIENCE, pauses={}, dead=[]).take == (0,)


def test_h05_what_has_failed_rests_and_what_is_dead_is_left() -> None:
    mind, seen = wishing(2), look(plan("a", "a"), {0: Grant(4, revision=9), 1: Grant(4, revision=9)})
    first = mind.wish(seen, [], 0, pauses={0: 50}, dead=[1])
    assert (first.take, first.again) == ((), 50)
    assert mind.wish(seen, [], 50, pauses={0: 50}, dead=[1]).take == (0,)
