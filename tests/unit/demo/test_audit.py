"""The audit finds every violation that is planted among clean rows, and finds none among clean ones."""

import random

import pytest

from locum.demo.audit import Relayed, Trail, overlap, relayed, reused_tokens, stale_writes, takeovers, tally, unasked
from locum.demo.brokers import Message
from locum.demo.injury import Injury
from locum.demo.orders import Event, Order
from locum.demo.plan import Kind
from locum.demo.trace import Row

MS = 1_000_000


def body(token: int, first: int, last: int, *, pid: int | None = None) -> list[Row]:
    """A row every millisecond from `first` to `last` (ms)."""
    return [Row(at * MS, pid or 100 + token, token) for at in range(first, last + 1)]


def as_written(*bodies: list[Row]) -> list[Row]:
    return sorted((row for rows in bodies for row in rows), key=lambda row: row.at)


def overlap_of(rows: list[Row]) -> int:
    return overlap(Trail(rows).spans)


def hurt(kind: Kind, at: int) -> Injury:
    return Injury(kind, at * MS, "web-1", 1)


def test_bodies_after_each_other_do_not_overlap() -> None:
    assert overlap_of(as_written(body(1, 0, 50), body(2, 51, 90), body(7, 200, 220))) == 0


@pytest.mark.parametrize("rows", [[], body(3, 5, 5), body(3, 5, 90)])
def test_a_single_body_overlaps_nobody(rows: list[Row]) -> None:
    assert overlap_of(rows) == 0


def test_two_bodies_at_once_overlap_for_as_long_as_both_write() -> None:
    assert overlap_of(as_written(body(1, 0, 50), body(2, 40, 90))) == 10 * MS


def test_one_late_row_is_enough() -> None:
    assert overlap_of(as_written(body(1, 0, 50), body(2, 60, 90), [Row(70 * MS + 1, 101, 1)])) == 10 * MS + 1


def test_three_at_once_are_counted_once() -> None:
    assert overlap_of(as_written(body(1, 0, 60), body(2, 40, 70), body(3, 50, 90))) == 30 * MS


def test_overlaps_at_different_times_add_up() -> None:
    rows = as_written(body(1, 0, 12), body(2, 10, 50), body(3, 45, 90))
    assert overlap_of(rows) == 7 * MS


def test_an_older_body_overlaps_also_one_that_is_not_its_successor() -> None:
    rows = as_written(body(1, 0, 10), body(2, 20, 30), body(3, 40, 50), [Row(45 * MS, 101, 1)])
    assert overlap_of(rows) == 25 * MS


def test_a_body_that_was_frozen_between_its_clock_and_its_write_is_seen_by_the_place_of_its_row() -> None:
    rows = [*body(1, 0, 10), *body(2, 20, 30), Row(11 * MS, 101, 1), *body(2, 31, 40)]
    assert overlap_of(rows) == 10 * MS


def test_a_row_that_tells_the_same_instant_but_stands_too_late_is_no_nothing() -> None:
    assert overlap_of([Row(5, 101, 1), Row(9, 102, 2), Row(9, 101, 1)]) > 0
    assert overlap_of([Row(5, 101, 1), Row(9, 101, 1), Row(9, 102, 2)]) == 0


def test_any_swap_of_a_row_into_a_later_body_is_found() -> None:
    chance = random.Random(7)
    clean = [Row(number, 100 + number // 100, number // 100) for number in range(1000)]
    for _ in range(200):
        old, place = chance.randrange(0, 800), 0
        place = chance.randrange((old // 100 + 1) * 100 + 1, 1001)
        rows = [row for row in clean if row != clean[old]]
        rows.insert(place, clean[old])
        assert overlap_of(rows) > 0, (old, place)


def test_a_token_under_which_two_processes_ran_is_found() -> None:
    assert reused_tokens(Trail(as_written(body(1, 0, 9), body(2, 20, 30))).spans) == []
    assert reused_tokens(Trail(as_written(body(2, 0, 9, pid=7), body(2, 20, 30, pid=8))).spans) == [2]


def test_stale_writes_are_those_under_a_lower_token_than_one_before() -> None:
    def events(*tokens: int) -> list[Event]:
        return [Event(place, place, token) for place, token in enumerate(tokens)]

    assert stale_writes(events()) == 0
    assert stale_writes(events(1, 1, 2, 2, 9)) == 0
    assert stale_writes(events(1, 2, 1, 2)) == 1
    assert stale_writes(events(1, 3, 2, 2, 3)) == 2


def test_orders_are_due_published_lost_and_duplicated() -> None:
    orders = [Order(1, 10), Order(2, 20), Order(3, 30), Order(4, 99)]
    events = [Event(1, 1, 1), Event(2, 2, 1), Event(3, 2, 2)]
    found = tally(orders, events, now=30)
    assert (found.created, found.due, found.published, found.lost, found.duplicated) == (4, 3, 2, 1, 1)


def test_an_order_that_is_not_due_is_not_lost() -> None:
    assert tally([Order(1, 50)], [], now=49).lost == 0
    assert tally([Order(1, 50)], [], now=50).lost == 1


def test_a_takeover_is_from_the_injury_to_the_first_row_of_a_higher_token() -> None:
    spans = Trail(as_written(body(4, 0, 50), body(5, 62, 100))).spans
    assert [(one.kind, one.ms, one.token) for one in takeovers([hurt(Kind.FROZEN, 50)], spans)] == [("frozen", 12.0, 5)]


def test_no_takeover_is_none() -> None:
    spans = Trail(body(4, 0, 90)).spans
    assert takeovers([hurt(Kind.FROZEN, 50)], spans) == []
    assert takeovers([hurt(Kind.FROZEN, 50)], []) == []


def test_a_takeover_belongs_to_the_last_injury_before_it() -> None:
    spans = Trail(as_written(body(4, 0, 50), body(5, 80, 100))).spans
    found = takeovers([hurt(Kind.FROZEN, 50), hurt(Kind.RESIGNED, 60)], spans)
    assert [(one.kind, one.ms) for one in found] == [("resigned", 20.0)]


def test_a_takeover_that_nobody_caused_is_told() -> None:
    spans = Trail(as_written(body(1, 0, 9), body(2, 20, 30), body(3, 40, 50), body(4, 60, 70))).spans
    known = takeovers([hurt(Kind.FROZEN, 35)], spans)
    assert [one.token for one in known] == [3]
    assert unasked(spans, known, until=55 * MS) == [2]


def test_what_the_broker_lacks_and_what_it_has_twice() -> None:
    orders = [Order(number, number * MS) for number in range(1, 6)]  # the fifth is not due
    messages = [Message(number, number, 1) for number in (1, 2, 4, 2)] + [Message(9, 4, 2)]
    assert relayed(orders, messages, now=4 * MS) == Relayed(messages=5, lost=(3,), twice=(2, 4))
