"""The audit: pure functions over the rows that the bodies wrote, never over Locum's own tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from locum.demo.brokers import Message
    from locum.demo.injury import Injury
    from locum.demo.orders import Event, Order
    from locum.demo.trace import Row

__all__ = [
    "Relayed",
    "Span",
    "Takeover",
    "Tally",
    "Trail",
    "overlap",
    "relayed",
    "reused_tokens",
    "stale_writes",
    "takeovers",
    "tally",
    "unasked",
]


@dataclass(slots=True)
class Span:
    """All rows of one token.

    Attributes:
        token: The token.
        first: The instant of its first row (boot clock, ns).
        last: The instant until which it is known to have run: its last row's, or a later one's if that was written
            before its last row.
        trespassed: Whether one of its rows was written after one of a higher token.
        pids: The processes that wrote under it.
    """

    token: int
    first: int
    last: int
    trespassed: bool
    pids: set[int]


@dataclass(frozen=True, slots=True)
class Takeover:
    """An injury, and the successor's first row.

    Attributes:
        kind: The kind of the injury.
        ms: Milliseconds from the injury to that row.
        token: The successor's token.
    """

    kind: str
    ms: float
    token: int


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the orders.

    Attributes:
        created: All that were placed.
        due: Those whose grace period was over.
        published: The due ones with an event.
        lost: The due ones without.
        duplicated: Those with more than one event.
    """

    created: int
    due: int
    published: int
    lost: int
    duplicated: int


@dataclass(frozen=True, slots=True)
class Relayed:
    """What reached the broker.

    Attributes:
        messages: How many.
        lost: The orders that were due and of which none did.
        twice: The orders of which more than one did.
    """

    messages: int
    lost: tuple[int, ...]
    twice: tuple[int, ...]


class Trail:
    """The rows by token, taken up in the order in which they were written.

    A body can be frozen between its look at the clock and its write. So a row that was written late counts from the
    latest instant that stands before it in the file.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._spans: dict[int, Span] = {}
        self._latest = self._highest = 0
        for row in rows:
            self.add(row)

    @property
    def spans(self) -> list[Span]:
        """The spans, in the order of their tokens."""
        return [self._spans[token] for token in sorted(self._spans)]

    def add(self, row: Row) -> None:
        """Take up the next row."""
        self._latest, self._highest = max(self._latest, row.at), max(self._highest, row.token)
        span = self._spans.get(row.token)
        if span is None:
            span = self._spans[row.token] = Span(row.token, row.at, row.at, False, set())
        is_late = row.token < self._highest
        span.first = min(span.first, row.at)
        span.last = max(span.last, self._latest if is_late else row.at)
        span.trespassed = span.trespassed or is_late
        span.pids.add(row.pid)


def overlap(found: Sequence[Span]) -> int:
    """Nanoseconds in which a body ran although one with a higher token had begun; never 0 if one did."""
    times: list[tuple[int, int]] = []
    for place, span in enumerate(found[:-1]):
        begun = min(later.first for later in found[place + 1 :])
        if span.trespassed or span.last > begun:
            times.append((begun, max(span.last, begun + 1)))
    return _length_of_union(times)


def stale_writes(events: Iterable[Event]) -> int:
    """How many events were written under a token lower than one before."""
    highest = stale = 0
    for event in events:
        stale += event.token < highest
        highest = max(highest, event.token)
    return stale


def reused_tokens(found: Iterable[Span]) -> list[int]:
    """The tokens under which more than one process wrote."""
    return [span.token for span in found if len(span.pids) > 1]


def tally(orders: Sequence[Order], events: Iterable[Event], *, now: int) -> Tally:
    """What has become of the orders at an instant (boot clock, ns)."""
    times = Counter(event.order for event in events)
    due = [order for order in orders if order.due_at <= now]
    published = sum(1 for order in due if times[order.id])
    return Tally(
        created=len(orders),
        due=len(due),
        published=published,
        lost=len(due) - published,
        duplicated=sum(1 for count in times.values() if count > 1),
    )


def relayed(orders: Sequence[Order], messages: Iterable[Message], *, now: int) -> Relayed:
    """What has reached the broker of the orders that are due at an instant (boot clock, ns)."""
    times = Counter(message.order for message in messages)
    return Relayed(
        messages=times.total(),
        lost=tuple(order.id for order in orders if order.due_at <= now and not times[order.id]),
        twice=tuple(sorted(order for order, count in times.items() if count > 1)),
    )


def takeovers(injuries: Sequence[Injury], found: Sequence[Span]) -> list[Takeover]:
    """For each injury, in order, the first row under a new token that came before the next injury."""
    result = []
    for place, injury in enumerate(injuries):
        until = injuries[place + 1].at if place + 1 < len(injuries) else None
        successor = _successor(injury.at, until, found)
        if successor is not None:
            result.append(Takeover(injury.kind.value, round((successor.first - injury.at) / 1e6, 3), successor.token))
    return result


def unasked(found: Sequence[Span], known: Iterable[Takeover], *, until: int) -> list[int]:
    """The tokens, but for the first, that began before an instant without an injury: safe, but not asked for."""
    asked = {takeover.token for takeover in known}
    return [span.token for span in found[1:] if span.token not in asked and span.first < until]


def _successor(at: int, until: int | None, found: Sequence[Span]) -> Span | None:
    before = max((span.token for span in found if span.first <= at), default=0)
    after = [span for span in found if span.token > before and (until is None or span.first <= until)]
    return min(after, key=lambda span: span.first, default=None)


def _length_of_union(times: Iterable[tuple[int, int]]) -> int:
    total, reached = 0, 0
    for begin, end in sorted(times):
        total += max(0, end - max(begin, reached))
        reached = max(reached, end)
    return total
