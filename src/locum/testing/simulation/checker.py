"""The judgement on a run, by its history alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from locum.clock import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locum.testing.simulation.history import Happening, History

__all__ = ["changes_of_term", "violations"]

_ROUNDING = 1_000  # ns


def violations(history: History) -> list[str]:
    """What the history shows that must never be; each in a sentence."""
    return [
        *_overlaps(history),
        *_falling_tokens(history),
        *_falling_grants(history),
        *_stale_writes(history),
        *_overdue(history),
        *_closed_too_early(history),
        *_revived(history),
    ]


def changes_of_term(history: History) -> int:
    """How often another body began than the one before."""
    return max(0, len({event.facts["token"] for event in history.of("began")}) - 1)


def _bodies(history: History) -> list[tuple[int, int, dict[str, Any]]]:
    """Of each body: when it began, when it could run its last line, and whose it was."""
    open_: dict[tuple[str, int, str], Happening] = {}
    found = []
    for event in history.of("began", "finished"):
        key = (event.who, event.facts["token"], event.facts["session"])
        if event.kind == "began":
            open_[key] = event
        else:
            begun = open_.pop(key)
            found.append((begun.at, event.facts["since"], {"who": event.who, **event.facts}))
    last = history.events[-1].at + 1  # those that never end
    found += [(event.at, last, {"who": event.who, **event.facts}) for event in open_.values()]
    return sorted(found, key=lambda body: body[0])


def _overlaps(history: History) -> Iterator[str]:
    latest: tuple[int, int, dict[str, Any]] | None = None
    for body in _bodies(history):
        if latest is not None and body[0] < latest[1]:
            yield (
                f"two bodies: {body[2]['who']} began with token {body[2]['token']} at {seconds(body[0]):.6f},"
                f" {latest[2]['who']} with token {latest[2]['token']} ran until {seconds(latest[1]):.6f}"
            )
        if latest is None or body[1] > latest[1]:
            latest = body


def _falling_tokens(history: History) -> Iterator[str]:
    highest = 0
    for event in history.of("began"):
        token = event.facts["token"]
        if token <= highest:
            yield f"a falling token: {event.who} began with {token} at {seconds(event.at):.6f} after {highest}"
        highest = max(highest, token)


def _falling_grants(history: History) -> Iterator[str]:
    """Tokens that a store gives out again, though it has forgotten nothing."""
    highest = 0
    for event in history.of("granted", "restored", "wiped"):
        if event.kind != "granted":
            highest = 0
        elif event.facts["session"] is not None:
            token = event.facts["token"]
            if token <= highest:
                yield f"a falling token: {token} was granted at {seconds(event.at):.6f} after {highest}"
            highest = max(highest, token)


def _stale_writes(history: History) -> Iterator[str]:
    highest = 0
    for event in history.of("read", "wrote", "raised"):
        token = event.facts["token"]
        if event.kind == "wrote" and token < highest:
            yield f"a stale write: {event.who} wrote under {token} at {seconds(event.at):.6f} after {highest}"
        highest = max(highest, token)


def _overdue(history: History) -> Iterator[str]:
    """Bodies that ran on beyond 85 % of the TTL, counted from before the last answered sending (R4)."""
    until: dict[str, int] = {}
    ttl: dict[str, int] = {}
    for event in history.of("lease", "renewed", "finished"):
        facts = event.facts
        session = facts["session"]
        if event.kind == "lease":
            until[session], ttl[session] = max(until.get(session, 0), facts["until"]), facts["ttl"]
        elif event.kind == "renewed":
            until[session] = max(until[session], facts["sent"] + ttl[session] * 85 // 100)
        elif facts["local"] > until[session] + _ROUNDING:
            late = seconds(facts["local"] - until[session])
            yield (
                f"a body beyond its deadline: {event.who} with token {facts['token']} ran until"
                f" {seconds(facts['since']):.6f}, {late:.6f} s too long"
            )


def _closed_too_early(history: History) -> Iterator[str]:
    """Sessions that an observer closed before 85 % of the TTL had passed on their owner's clock (R7, R8)."""
    clocks = {event.who: (event.facts["rate"], event.facts["offset"]) for event in history.of("machine")}
    until: dict[str, int] = {}
    leases: dict[str, tuple[str, int]] = {}
    for event in history.of("lease", "renewed", "closed"):
        facts = event.facts
        session = facts["session"]
        if event.kind == "lease":
            leases[session] = (event.who, facts["ttl"])
            until[session] = max(until.get(session, 0), facts["until"])
        elif event.kind == "renewed":
            until[session] = max(until[session], facts["sent"] + leases[session][1] * 85 // 100)
        elif facts["observed"] and session in until:
            rate, offset = clocks[leases[session][0]]
            left = until[session] - (offset + event.at * rate // 1_000_000)
            if left > _ROUNDING:
                yield (
                    f"closed too early: {session} of {leases[session][0]} was closed by an observer at"
                    f" {seconds(event.at):.6f}, {seconds(left):.6f} s before its deadline"
                )


def _revived(history: History) -> Iterator[str]:
    """Sessions that lived again after they were closed, in a store that had not forgotten them."""
    dead: set[str] = set()
    for event in history.of("opened", "beat", "bound", "closed", "restored", "wiped"):
        if event.kind in ("restored", "wiped"):
            dead.clear()
            continue
        session = event.facts["session"]
        if event.kind == "closed":
            dead.add(session)
        elif session in dead:
            yield f"a dead session lives: {session} {event.kind} at {seconds(event.at):.6f}"
