"""Who owns which shard of which service, at one moment: a picture read from the store alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from locum.coordination.grant import Grant, grant_key
from locum.coordination.plan import Plan, plan_key
from locum.coordination.shard import ShardState
from locum.coordination.shards import report_prefix
from locum.keeper.owner import Ending
from locum.views.line import grant_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from locum.store import Record, SessionStatus, Store

__all__ = ["ShardView", "read_shards"]

_GRANTS: Final = grant_key("shard/")
_PLANS: Final = plan_key("")
_REPORTS: Final = report_prefix("").rstrip("/") + "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardView:
    """One shard.

    Attributes:
        service: The service's name.
        index: Which one it is, from 0.
        owner: The instance that owns it; `None` if none does.
        planned: The instance that is to; `None` if none is planned.
        token: The token of its owner, or of the last one.
        since: Since when it is owned (ISO 8601, UTC); empty if it is not.
        moves: How often it went from one instance to another.
        reason: Why it came to its owner; where it has none, how the last one ended.
        lag: How far its work is behind, as its owner says; `None` if it does not.
        state: `owned`, `free`, `failing` (it rests, and is run again), `dead` (until somebody revives it).
        failures: How often in a row it has failed.
        trouble: What it failed with last, or what of it cannot be read; empty for nothing.
    """

    service: str
    index: int
    owner: str | None = None
    planned: str | None = None
    token: int = 0
    since: str = ""
    moves: int = 0
    reason: str = ""
    lag: float | None = None
    state: str = "free"
    failures: int = 0
    trouble: str = ""


async def read_shards(store: Store, service: str | None = None) -> tuple[ShardView, ...]:
    """The shards of one service, or of all, by service and index.

    Args:
        store: The open store; nothing is written to it.
        service: The service's name; all services if none is given.

    Raises:
        StoreError: The store does not answer.
    """
    below = f"{service}/" if service else ""
    reports = (await store.list(_REPORTS + below)).records
    plans = (await store.list(_PLANS)).records
    grants = (await store.list(_GRANTS + below)).records
    # a session is read after what names it (R11)
    held = [grant.holder.session for grant in map(grant_of, grants) if isinstance(grant, Grant) and grant.holder]
    sessions = (await store.sessions(dict.fromkeys(held))).by_id if held else {}
    found: dict[tuple[str, int], ShardView] = {}
    for name, plan in ((record.key.removeprefix(_PLANS), Plan.of(record)) for record in plans):
        if service in (None, name):
            for index, owner in enumerate(plan.owners):
                found[name, index] = ShardView(service=name, index=index, planned=owner)
    lags = _lags(reports)
    for record in grants:
        name, _, number = record.key.removeprefix(_GRANTS).partition("/")
        if number.isdecimal():
            empty = found.get((name, int(number)), ShardView(service=name, index=int(number)))
            found[name, int(number)] = _seen(empty, record, sessions, lags)
    return tuple(found[key] for key in sorted(found))


def _seen(
    view: ShardView,
    record: Record,
    sessions: Mapping[str, SessionStatus],
    lags: Mapping[tuple[str, str, int], float],
) -> ShardView:
    grant = grant_of(record)
    if not isinstance(grant, Grant):
        return replace(view, trouble=str(grant))
    state = ShardState.of(grant.value)
    view = replace(
        view, token=grant.token, moves=state.moves, failures=state.failures, trouble=state.trouble, reason=state.reason
    )
    holder = grant.holder
    if holder is not None and sessions[holder.session].is_open:
        lag = lags.get((view.service, holder.session, view.index))
        return replace(view, owner=holder.instance, since=holder.since, state="owned", lag=lag)
    kind = "dead" if state.dead else "failing" if state.failures else "free"
    if holder is not None:
        ending = sessions[holder.session]
        why = Ending.from_bytes(ending.reason).why if ending.is_closed else "is gone"
        return replace(view, state=kind, reason=f"{holder.instance} {why}")
    return replace(view, state=kind, reason=f"{grant.past.instance} {grant.past.why}" if grant.past else "")


def _lags(reports: Sequence[Record]) -> dict[tuple[str, str, int], float]:
    """By service, session and index; what cannot be read tells nothing."""
    found = {}
    for record in reports:
        name, _, session = record.key.removeprefix(_REPORTS).partition("/")
        for index, lag in _said(record):
            found[name, session, index] = lag
    return found


def _said(record: Record) -> Iterable[tuple[int, float]]:
    try:
        lags: dict[str, Any] = json.loads(record.value)["lags"]
        return [(int(index), float(lag)) for index, lag in lags.items()]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
