"""The verdict: what a run shows, and every reason why it is not good enough. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil
from typing import TYPE_CHECKING

from locum.demo import audit
from locum.demo.plan import injuries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locum.demo.audit import Relayed, Takeover, Tally
    from locum.demo.brokers import Message
    from locum.demo.injury import Injury
    from locum.demo.orders import Event, Order

__all__ = ["Evidence", "Result", "Wanted", "judge"]

_ENOUGH = 0.9
_LISTED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for.

    Attributes:
        seconds: How long orders are placed.
        kills: How often the active instance is hurt.
        rate: Orders a second.
        instances: How many instances.
    """

    seconds: float
    kills: int
    rate: float
    instances: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a run left behind: the rows that the bodies wrote, and what was done to them.

    Attributes:
        orders: Every order.
        events: Every event, in the order of writing.
        spans: The trace, by token.
        injuries: What was done, in order.
        messages: What reached the broker; `None` if there was none.
        ended_at: When the injuries were over and the instances were told to stop (boot clock, ns).
        audited_at: When it was read (boot clock, ns).
    """

    orders: Sequence[Order]
    events: Sequence[Event]
    spans: Sequence[audit.Span]
    injuries: Sequence[Injury]
    messages: Sequence[Message] | None = None
    ended_at: int
    audited_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the audit found.

    Attributes:
        wanted: What was asked for.
        orders: What became of the orders.
        overlap_ms: Milliseconds in which two bodies ran.
        stale_writes: Events that an older body wrote after a newer one.
        takeovers: One for each injury that was followed by one.
        reused: Tokens under which more than one process ran.
        unasked: Tokens of takeovers that nobody caused: safe, and worth a look.
        relayed: What reached the broker; `None` if there was none.
    """

    wanted: Wanted
    orders: Tally
    overlap_ms: float
    stale_writes: int
    takeovers: Sequence[Takeover]
    reused: Sequence[int]
    unasked: Sequence[int]
    relayed: Relayed | None = None

    def to_dict(self) -> dict[str, object]:
        """As `--json` prints it."""
        orders = self.orders
        return {
            "instances": self.wanted.instances,
            "seconds": self.wanted.seconds,
            "orders": {
                "created": orders.created,
                "due": orders.due,
                "published": orders.published,
                "lost": orders.lost,
                "duplicated": orders.duplicated,
            },
            "overlap_ms": self.overlap_ms,
            "stale_writes_accepted": self.stale_writes,
            "takeovers": [{"kind": one.kind, "ms": one.ms, "token": one.token} for one in self.takeovers],
            "relay": None if self.relayed is None else asdict(self.relayed),
        }

    def objections(self) -> list[str]:
        """Every reason why the run was not good, a sentence each; none if it was."""
        return [*self._unsafe(), *self._missing()]

    def _unsafe(self) -> list[str]:
        orders, found = self.orders, []
        if orders.lost:
            found.append(f"{orders.lost} of {orders.due} orders that were due were not published.")
        if orders.duplicated:
            found.append(f"{orders.duplicated} orders were published more than once.")
        if self.relayed is not None and self.relayed.lost:
            found.append(f"{len(self.relayed.lost)} orders did not reach the broker: {_listed(self.relayed.lost)}.")
        if self.overlap_ms:
            found.append(f"Two bodies ran at once, for {self.overlap_ms:g} ms in all.")
        if self.stale_writes:
            found.append(f"{self.stale_writes} events were written under a token lower than one before.")
        if self.reused:
            found.append(f"More than one process ran under the token {', '.join(map(str, self.reused))}.")
        return found

    def _missing(self) -> list[str]:
        wanted, orders, found = self.wanted, self.orders, []
        if len(self.takeovers) != wanted.kills:
            found.append(f"{len(self.takeovers)} takeovers were seen, and {wanted.kills} were asked for.")
        kinds = {takeover.kind for takeover in self.takeovers}
        absent = list(dict.fromkeys(kind.value for kind in injuries(wanted.kills) if kind.value not in kinds))
        if absent:
            found.append(f"No takeover was seen after: {', '.join(absent)}.")
        expected = wanted.rate * wanted.seconds
        if orders.created < _ENOUGH * expected:
            found.append(f"Only {orders.created} of {expected:g} orders were placed.")
        if orders.published < _ENOUGH * orders.due:
            found.append(f"Only {orders.published} of {orders.due} due orders were published.")
        return found


def _listed(orders: Sequence[int]) -> str:
    more = "" if len(orders) <= _LISTED else f" and {len(orders) - _LISTED} more"
    return ", ".join(map(str, orders[:_LISTED])) + more


def judge(wanted: Wanted, evidence: Evidence) -> Result:
    """Audit a run."""
    spans = evidence.spans
    taken = audit.takeovers(evidence.injuries, spans)
    return Result(
        wanted=wanted,
        orders=audit.tally(evidence.orders, evidence.events, now=evidence.audited_at),
        overlap_ms=ceil(audit.overlap(spans) / 1000) / 1000,  # up: a nanosecond is not nothing
        stale_writes=audit.stale_writes(evidence.events),
        takeovers=taken,
        reused=audit.reused_tokens(spans),
        unasked=audit.unasked(spans, taken, until=evidence.ended_at),
        relayed=None
        if evidence.messages is None
        else audit.relayed(evidence.orders, evidence.messages, now=evidence.audited_at),
    )
