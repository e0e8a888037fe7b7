"""Where replicas are and who is the primary: balanced, and moved no more than needed, whatever was before."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as some

from locum.coordination.placement import place, swaps

NAMES = [f"web-{number}" for number in range(8)]


@some.composite
def situations(draw: some.DrawFn) -> tuple[list[list[str]], list[str], int]:
    """What was before, who is there now, how many replicas are wanted."""
    before = draw(some.lists(some.lists(some.sampled_from(NAMES), max_size=5), min_size=1, max_size=24))
    return before, draw(some.lists(some.sampled_from(NAMES), unique=True, max_size=8)), draw(some.integers(1, 5))


@given(situations())
def test_each_partition_has_its_replicas_and_each_instance_its_share(
    situation: tuple[list[list[str]], list[str], int],
) -> None:
    before, instances, replicas = situation
    placed = place(before, instances, replicas)
    for names in placed:
        assert len(set(names)) == len(names) == min(replicas, len(instances))
        assert set(names) <= set(instances)
    if instances:
        load = Counter(dict.fromkeys(instances, 0))
        load.update(name for names in placed for name in names)
        assert max(load.values()) - min(load.values()) <= 1


@given(situations())
def test_what_is_placed_stays(situation: tuple[list[list[str]], list[str], int]) -> None:
    before, instances, replicas = situation
    placed = place(before, instances, replicas)
    assert place(placed, instances, replicas) == placed


@given(some.integers(1, 24), some.integers(2, 6), some.integers(1, 4))
def test_who_joins_gets_its_share_and_nothing_else_moves(partitions: int, instances: int, replicas: int) -> None:
    names = NAMES[:instances]
    before = place([[]] * partitions, names, replicas)
    after = place(before, [*names, "web-9"], replicas)
    if min(replicas, instances) == min(replicas, instances + 1):
        gained = [set(new) - set(old) for old, new in zip(before, after, strict=True)]
        assert all(one <= {"web-9"} for one in gained)
        assert sum(map(len, gained)) <= -(-partitions * min(replicas, instances) // (instances + 1))


@given(some.integers(1, 24), some.integers(2, 6), some.integers(1, 4))
def test_who_goes_is_replaced_and_nobody_else_loses_more_than_it_must(
    partitions: int, instances: int, replicas: int
) -> None:
    names = NAMES[:instances]
    before = place([[]] * partitions, names, replicas)
    after = place(before, names[1:], replicas)
    lost = sum(len(set(old) & set(names[1:]) - set(new)) for old, new in zip(before, after, strict=True))
    assert lost <= instances - 1, "one each, to make room for what has to be somewhere"


@some.composite
def offices(draw: some.DrawFn) -> tuple[list[tuple[str, ...]], list[str | None]]:
    """Who carries what, and who of them is the primary."""
    carried = draw(
        some.lists(some.lists(some.sampled_from(NAMES), unique=True, min_size=1, max_size=4).map(tuple), max_size=24)
    )
    return carried, [draw(some.sampled_from([*names, None])) for names in carried]


@given(offices())
def test_primaries_are_spread_and_only_among_those_that_carry(
    office: tuple[list[tuple[str, ...]], list[str | None]],
) -> None:
    carried, primaries = office
    moved = swaps(carried, primaries)
    after = [moved.get(index, name) for index, name in enumerate(primaries)]
    assert all(name is None or name in carried[index] for index, name in enumerate(after))
    assert [name is None for name in after] == [name is None for name in primaries], "nobody is appointed here"
    assert swaps(carried, after) == {}, "once they are made, all is well"
    load = Counter(name for name in after if name is not None)
    assert max(load.values(), default=0) <= max(Counter(name for name in primaries if name).values(), default=0)


@given(some.integers(1, 24), some.integers(1, 6), some.integers(1, 3))
def test_with_replicas_everywhere_the_primaries_are_within_one(partitions: int, instances: int, at: int) -> None:
    names = NAMES[:instances]
    primaries: list[str | None] = [names[min(at, instances) - 1]] * partitions
    moved = swaps([tuple(names)] * partitions, primaries)
    after = [moved.get(index, name) for index, name in enumerate(primaries)]
    load = Counter(dict.fromkeys(names, 0))
    load.update(name for name in after if name is not None)
    assert max(load.values()) - min(load.values()) <= 1
    assert len(moved) == partitions - -(-partitions // instances) or len(moved) == partitions - partitions // instances


def test_what_was_moved_last_is_moved_last_again() -> None:
    names, primaries = ("a", "b"), ["b", "b", "b", "a"]
    assert swaps([names] * 4, primaries) == {0: "a"}
    assert swaps([names] * 4, primaries, order=[3, 2, 1, 0]) == {2: "a"}
