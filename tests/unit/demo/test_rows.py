"""What bodies write is what is read: the trace and the orders database, on real files."""

from pathlib import Path

import pytest

from locum.clock import Clock
from locum.demo.generator import place_orders
from locum.demo.orders import Counts, Event, Order, Orders
from locum.demo.trace import Row, Trace, TraceReader


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    made = Orders(tmp_path / "orders.db")
    made.prepare()
    return made


def test_the_trace_is_read_on_from_where_it_was_left(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    reader = TraceReader(path)
    assert list(reader.read()) == []
    trace = Trace(path)
    trace.append(3)
    assert [row.token for row in reader.read()] == [3]
    assert list(reader.read()) == []
    trace.append(4)
    trace.append(5)
    trace.close()
    assert [row.token for row in reader.read()] == [4, 5]
    assert [row.token for row in TraceReader(path).read()] == [3, 4, 5]


def test_half_a_row_waits_for_its_other_half(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    reader = TraceReader(path)
    path.write_bytes(b"10 1 1\n20 1 ")
    assert list(reader.read()) == [Row(10, 1, 1)]
    path.write_bytes(b"10 1 1\n20 1 12\n")
    assert list(reader.read()) == [Row(20, 1, 12)]


def test_an_order_goes_through_the_outbox_to_the_events(orders: Orders) -> None:
    orders.place([(0, 10), (0, 20), (0, 99)])
    assert orders.counts(50) == Counts(created=3, due=2, published=0)
    assert orders.due(5) == []
    assert orders.due(50) == [1, 2]
    orders.submit([1, 2], token=7)
    assert orders.due(50) == []
    assert orders.unsent() == [(1, 1), (2, 2)]
    orders.publish([(1, 1), (2, 2)], 8, now=60)
    assert orders.unsent() == []
    assert orders.all_events() == [Event(1, 1, 8), Event(2, 2, 8)]
    assert orders.all_orders() == [Order(1, 10), Order(2, 20), Order(3, 99)]
    assert orders.counts(50) == Counts(created=3, due=2, published=2)


def test_nothing_in_the_database_hides_a_second_event(orders: Orders) -> None:
    orders.place([(0, 10)])
    orders.publish([(1, 1)], 1, now=60)
    orders.publish([(1, 1)], 1, now=61)
    assert [event.order for event in orders.all_events()] == [1, 1]


def test_the_generator_places_all_orders_and_each_has_its_grace_period(orders: Orders) -> None:
    begun = Clock().now()
    place_orders(orders, rate=400, duration=0.25, clock=Clock())
    placed = orders.all_orders()
    assert len(placed) == 100
    assert all(order.due_at - begun >= 800_000_000 for order in placed)
