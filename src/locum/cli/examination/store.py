"""The store: does it answer, how fast, what does it promise, and who is on it?"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from locum.cli.examination.finding import Finding, Level, Said, check
from locum.clock import seconds
from locum.errors import ConfigurationError, CorruptRecordError
from locum.identity import MachineKey, sees_own_processes
from locum.keeper.budget import Budget
from locum.keeper.owner import Owner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locum.clock import Clock
    from locum.store import Guarantees, Health, SessionStatus, Store

__all__ = ["DEFAULT_TTL", "Answers", "Neighbour", "ask", "budget", "findings", "neighbour"]

DEFAULT_TTL: Final = 6.0
"""The TTL in seconds where neither a host nor an open session names another."""

_TIMES: Final = 20
_NEAR: Final = 0.25  # of the call deadline: a round trip that takes so much leaves little for a bad day


@dataclass(frozen=True, slots=True)
class Answers:
    """What a store that answered said.

    Attributes:
        url: Its URL without secrets.
        namespace: Whose sessions these are.
        health: Its last answer.
        trips: Seconds of each round trip.
        guarantees: What it promises.
        sessions: The open sessions.
    """

    url: str
    namespace: str
    health: Health
    trips: Sequence[float]
    guarantees: Guarantees
    sessions: Sequence[SessionStatus]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One instance with an open session.

    Attributes:
        instance: Its name; the session's id where its owner cannot be read.
        machine: Its machine's name.
        enforcement: `kill` or `cancel`; empty if unknown.
        ttl: Its TTL in seconds.
        witnessed: Whether an instance started here would learn of its death from the kernel, in milliseconds.
        how: How its death becomes known here, in words.
    """

    instance: str
    machine: str
    enforcement: str
    ttl: float
    witnessed: bool
    how: str


async def ask(store: Store, *, clock: Clock) -> Answers:
    """Ask an open store for all of it; nothing is written.

    Raises:
        StoreError: It does not answer.
    """
    trips = []
    health = await store.health()  # the first one warms it up
    for _ in range(_TIMES):
        begun = clock.now()
        health = await store.health()
        trips.append(seconds(clock.now() - begun))
    sessions = (await store.sessions()).by_id.values()
    return Answers(store.url, store.namespace, health, trips, store.guarantees(), list(sessions))


def findings(answers: Answers, *, ttl: float | None) -> list[Finding]:
    """What its answers mean.

    Args:
        answers: What it said.
        ttl: The host's TTL in seconds, where one is known.
    """
    shortest = min([seconds(session.ttl) for session in answers.sessions] + ([ttl] if ttl else []), default=DEFAULT_TTL)
    return [_store(answers), _trip(answers, shortest), _promises(answers.guarantees), _machines(answers.guarantees)]


@check("store", "Store")
def _store(answers: Answers) -> Said:
    schema = f", schema {answers.health.schema}" if answers.health.schema else ""
    fact = f"{answers.health.version}{schema}, answers as {answers.namespace} on {answers.url}"
    if answers.health.flaws:
        fact += f"; known of this version: {answers.health.flaws}"
        return Said(Level.WEAKER, fact, "upgrade the server, unless its distributor has mended that in its package")
    return Said(Level.HOLDS, fact)


@check("budget", "Round trip")
def _trip(answers: Answers, ttl: float) -> Said:
    return budget(answers.trips, ttl)


def budget(trips: Sequence[float], ttl: float) -> Said:
    """Whether the round trips (s) fit into a TTL (s)."""
    try:
        deadline = Budget.of_seconds(ttl).call_seconds
    except ConfigurationError as error:
        return Said(Level.FAILS, str(error))
    median, slowest = statistics.median(trips), max(trips)
    fact = f"a read takes {median * 1000:.2f} ms, the slowest of {len(trips)} {slowest * 1000:.2f} ms;"
    fact += f" a TTL of {ttl:g} s allows {deadline * 1000:.0f} ms a call"
    if median > deadline:
        return Said(Level.FAILS, fact, f"choose a TTL of {_least_ttl(slowest):g} s or more")
    if slowest > _NEAR * deadline:
        return Said(Level.WEAKER, fact, f"find out what is slow, or choose a TTL of {_least_ttl(slowest):g} s or more")
    return Said(Level.HOLDS, fact)


def _least_ttl(slowest: float) -> float:
    return max(1.0, float(round(6 * slowest / _NEAR + 0.5)))


@check("guarantees", "What it promises")
def _promises(found: Guarantees) -> Said:
    said = {
        "keeps what it acknowledged": found.durable,
        "checks sessions and grant in one step": found.guarded_writes,
        "pushes changes": found.pushed_changes,
        "times sessions itself": found.native_sessions,
    }
    fact = "; ".join(words if holds else f"not: {words}" for words, holds in said.items())
    if not found.durable:
        return Said(Level.FAILS, fact, "only writes that carry the token are safe on it: use another store otherwise")
    if not found.pushed_changes:
        fact += f"; changes are asked for every {found.poll_interval * 1000:.0f} ms"
        return Said(Level.WEAKER, fact, "see `File watches` above: a takeover waits for the next question")
    return Said(Level.HOLDS, fact)


@check("machines", "Who can share it")
def _machines(found: Guarantees) -> Said:
    if found.one_machine:
        return Said(Level.NOTE, "instances on this machine only", "for several machines use a server as store")
    return Said(Level.NOTE, "instances on any machine that reaches it")


def neighbour(session: SessionStatus, *, key: MachineKey | None = None, sees: bool | None = None) -> Neighbour:
    """How the death of a session's owner would become known to an instance that is started here (R8, R9).

    Args:
        session: The open session.
        key: Our own machine key, if it is not to be looked up.
        sees: Whether our /proc shows our own processes, if it is not to be looked up.
    """
    ttl = seconds(session.ttl)
    try:
        owner = Owner.from_bytes(session.owner)
    except CorruptRecordError as error:
        return Neighbour(session.id, "", "", ttl, False, f"observed ({ttl:g} s): {error}")
    ours = MachineKey.of_this_process() if key is None else key
    why = _why_not(owner, ours, sees_own_processes() if sees is None else sees)
    how = f"observed ({ttl:g} s): {why}" if why else "witnessed (milliseconds)"
    return Neighbour(owner.name, owner.machine, owner.enforcement, ttl, not why, how)


def _why_not(owner: Owner, ours: MachineKey, sees: bool) -> str:
    """Why its death cannot be witnessed from here; empty if it can."""
    theirs = owner.key
    if theirs.boot != ours.boot:
        return "another machine, or another boot of it"
    if theirs.pid_namespace != ours.pid_namespace:
        return "this machine, another pid namespace"
    if theirs.time_namespace != ours.time_namespace:
        return "this machine, another time namespace"
    if not sees:
        return "our /proc shows another pid namespace"
    if not (owner.keeper.start and owner.worker.start):
        return "it could not read its own start times"
    return ""
