"""The judgement on a run, by its history alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from locum.clock import seconds
from locum.testing.simulation.world import SCOPE

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
        *_lost_writes(history),
        *_shown_out_of_order(history),
    ]


def changes_of_term(history: History) -> int:
    """How often another body of the service began than the one before."""
    return max(0, len({event.facts["token"] for event in history.of("began") if event.facts["scope"] == SCOPE}) - 1)


def _bodies(history: History) -> list[tuple[int, int, dict[str, Any]]]:
    """Of each body: when it began, when it could run its last line, and whose it was."""
    open_: dict[tuple[str, str, int, str], Happening] = {}
    found = []
    for event in history.of("began", "finished"):
        key = (event.who, event.facts["scope"], event.facts["token"], event.facts["session"])
        if event.kind == "began":
            open_[key] = event
        else:
            begun = open_.pop(key)
            found.append((begun.at, event.facts["since"], {"who": event.who, **event.facts}))
    last = history.events[-1].at + 1  # those that never end
    found += [(event.at, last, {"who": event.who, **event.facts}) for event in open_.values()]
    return sorted(found, key=lambda body: body[0])


def _overlaps(history: History) -> Iterator[str]:
    latest: dict[str, tuple[int, int, dict[str, Any]]] = {}
    for body in _bodies(history):
        scope = body[2]["scope"]
        before = latest.get(scope)
        if before is not None and body[0] < before[1]:
            yield (
                f"two bodies: {body[2]['who']} began {scope} with token {body[2]['token']} at {seconds(body[0]):.6f},"
                f" {before[2]['who']} with token {before[2]['token']} ran until {seconds(before[1]):.6f}"
            )
        if before is None or body[1] > before[1]:
            latest[scope] = body


def _falling_tokens(history: History) -> Iterator[str]:
    highest: dict[str, int] = {}
    for event in history.of("began"):
        token, scope = event.facts["token"], event.facts["scope"]
        before = highest.get(scope, 0)
        if token <= before:
            yield f"a falling token: {event.who} began {scope} with {token} at {seconds(event.at):.6f} after {before}"
        highest[scope] = max(before, token)


def _falling_grants(history: History) -> Iterator[str]:
    """Tokens that a store gives out again, though it has forgotten nothing."""
    highest: dict[str, tuple[int, str]] = {}  # and the attempt that has it: it may change the value that goes with it
    for event in history.of("granted", "restored", "wiped"):
        if event.kind != "granted":
            highest.clear()
        elif event.facts["session"] is not None:
            scope, now = event.facts["scope"], (event.facts["token"], event.facts["attempt"])
            before = highest.get(scope, (0, ""))
            if now[0] <= before[0] and now != before:
                at = seconds(event.at)
                yield f"a falling token: {now[0]} of {scope} was granted at {at:.6f} after {before[0]}"
            highest[scope] = max(before, now)


def _stale_writes(history: History) -> Iterator[str]:
    highest: dict[str, int] = {}
    for event in history.of("read", "wrote", "raised"):
        token, scope = event.facts["token"], event.facts["scope"]
        before = highest.get(scope, 0)
        if event.kind == "wrote" and token < before:
            yield f"a stale write: {event.who} wrote under {token} at {seconds(event.at):.6f} after {before}"
        highest[scope] = max(before, token)


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


def _lost_writes(history: History) -> Iterator[str]:
    """Of a number that all raise by one: what was there and is not any more, or was acknowledged and was never there.

    What a store has forgotten is gone, and counted anew.
    """
    highest: dict[str, int] = {}
    landed = set[tuple[int, str]]()
    for event in history.of("landed", "kept", "valued", "restored", "wiped"):
        facts = event.facts
        match event.kind:
            case "restored" | "wiped":
                highest.clear()
            case "kept":
                if (facts["version"], facts["value"]) not in landed:
                    yield (
                        f"a lost write: {facts['value']} was acknowledged to {event.who} as version {facts['version']}"
                        f" at {seconds(event.at):.6f}, and never landed"
                    )
            case _:
                value, before = int(facts["value"]), highest.get(facts["key"], 0)
                if value < before or (event.kind == "landed" and value == before):
                    yield f"a lost write: {facts['key']} was {before}, and {value} at {seconds(event.at):.6f}"
                highest[facts["key"]] = value
                if event.kind == "landed":
                    landed.add((facts["revision"], facts["value"]))


def _shown_out_of_order(history: History) -> Iterator[str]:
    """Watches that show an older state after a newer one, in a store that has forgotten nothing."""
    era, of_era, last = 0, dict[int, int](), dict[str, int]()
    for event in history.of("landed", "shown", "restored", "wiped"):
        match event.kind:
            case "restored" | "wiped":
                era += 1
                last.clear()
            case "landed":
                of_era[event.facts["revision"]] = era
            case _:
                life, version = event.facts["life"], event.facts["version"]
                if of_era.get(version) != era:
                    continue  # it was on its way, or is what was put back
                if version <= last.get(life, 0):
                    yield f"shown out of order: version {version} to {event.who} at {seconds(event.at):.6f}"
                last[life] = version
