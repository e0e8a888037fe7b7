"""What all findings come to: one line a promise, in plain words."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from locum.cli.examination.finding import Finding, Level, worst

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from locum.cli.examination.store import Neighbour

__all__ = ["Promise", "promises"]


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise, and whether it holds here.

    Attributes:
        text: The promise.
        level: Whether it holds.
        why: Why, or with what reservation.
    """

    text: str
    level: Level
    why: str


def promises(
    findings: Iterable[Finding], neighbours: Sequence[Neighbour] = (), *, is_init: bool | None = None
) -> list[Promise]:
    """The verdict.

    Args:
        findings: What all checks found; what was not looked at is not promised.
        neighbours: Who is on the store.
        is_init: Whether an instance started here would have its guardian as PID 1; looked up if not given.
    """
    by_id = {one.id: one for one in findings}
    init = os.getpid() == 1 if is_init is None else is_init
    return [
        _promise(
            "An instance that dies here is replaced in milliseconds",
            by_id,
            ("platform", "proc", "starts", "pidfd", "subreaper", "files", "hidepid"),
            "the kernel tells its death to its keeper and to every witness on this machine",
        ),
        _promise(
            "Whoever is frozen or blocked is ended at 85 % of its TTL",
            by_id,
            ("stopped", "held", "signals"),
            by_id["stopped"].fact,
        ),
        _promise("A worker never outlives its keeper", by_id, ("parent",), by_id["parent"].fact),
        _leftovers(by_id),
        _detached(by_id, is_init=init),
        _promise(
            "A second is a second, here as elsewhere", by_id, ("rate", "clocksource"), "leases allow for 8 % difference"
        ),
        *_of_store(by_id),
        *_of_neighbours(neighbours),
        Promise(
            "What no timer can promise",
            Level.NOTE,
            "a paused virtual machine, a statement already handed to another server: there the token guards the write",
        ),
    ]


def _leftovers(by_id: Mapping[str, Finding]) -> Promise:
    return _promise(
        "What a dead worker leaves running is ended before another starts",
        by_id,
        ("subreaper", "proc"),
        "its keeper or guardian ends and reaps it; if all are killed at once, another instance of this machine does",
    )


def _detached(by_id: Mapping[str, Finding], *, is_init: bool) -> Promise:
    text = "So is what it detached by setsid"
    level = worst(by_id["subreaper"].level, by_id["proc"].level)
    if level in (Level.UNKNOWN, Level.FAILS):
        return _promise(text, by_id, ("subreaper", "proc"), "")
    if is_init:
        return Promise(text, Level.HOLDS, "the guardian is PID 1 here: the kernel ends all with it")
    why = (
        "as long as its keeper or guardian lives; who kills all three at once leaves it running, unless a container"
        " or systemd ends it"
    )
    return Promise(text, Level.WEAKER, why)


def _of_store(by_id: Mapping[str, Finding]) -> list[Promise]:
    found = []
    if "file-system" in by_id:
        found.append(
            _promise(
                "Instances on one store agree on who is active",
                by_id,
                ("file-system",),
                f"locks and shared memory work on {by_id['file-system'].fact}",
            )
        )
    if "file-system" in by_id and "store" not in by_id:
        found.append(_promise("A store can be made there", by_id, ("rights", "space"), by_id["rights"].fact))
    if "guarantees" in by_id:
        reasons = [one for one in ("guarantees", "space", "rights") if one in by_id]
        found.append(
            _promise("What the store acknowledged stays", by_id, reasons, "takes and releases are on disk first")
        )
        found.append(_promise("Beats arrive in time", by_id, ("budget",), by_id["budget"].fact))
        machines = by_id["machines"]
        found.append(Promise("Which machines can join", Level.NOTE, _with_advice(machines)))
    return found


def _of_neighbours(neighbours: Sequence[Neighbour]) -> list[Promise]:
    if not neighbours:
        return []
    unseen = [one for one in neighbours if not one.witnessed]
    mild = [one.instance for one in neighbours if one.enforcement != "kill"]
    longest = max((one.ttl for one in unseen), default=0.0)
    seen = Promise(
        "The death of every other instance is witnessed from here", Level.HOLDS, "all are seen by the kernel"
    )
    ended = Promise("Every other instance is ended by its kernel in time", Level.HOLDS, "all run at the level kill")
    if unseen:
        names = ", ".join(one.instance for one in unseen)
        why = f"{names}: observed, so that a death takes up to a TTL ({longest:g} s) to be known here"
        seen = replace(seen, level=Level.WEAKER, why=why)
    if mild:
        why = f"{', '.join(mild)}: only cancelled; a body that will not end is kept from harm by its token alone"
        ended = replace(ended, level=Level.WEAKER, why=why)
    return [seen, ended]


def _promise(text: str, by_id: Mapping[str, Finding], reasons: Iterable[str], holds: str) -> Promise:
    """A promise that rests on some checks: as good as the worst of them, and told by the first of those."""
    found = [by_id[one] for one in reasons]
    level = worst(Level.HOLDS, *(one.level for one in found))
    if level is Level.HOLDS:
        return Promise(text, level, holds)
    return next(Promise(text, level, f"{one.what}: {one.fact}") for one in found if one.level is level)


def _with_advice(one: Finding) -> str:
    return f"{one.fact}; {one.advice}" if one.advice else one.fact
