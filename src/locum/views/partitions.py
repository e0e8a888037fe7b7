"""Who is the primary of which partition, and who stands by: a picture read from the store alone."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from locum.coordination.grant import Grant, grant_key
from locum.coordination.line import line_prefix
from locum.coordination.partitions import PARTITIONINGS, Partition, Partitioning
from locum.coordination.plan import Plan, plan_key
from locum.coordination.replica_report import KIND, REPORTS, Report
from locum.errors import CorruptRecordError
from locum.keeper.owner import Ending
from locum.views.line import Line, grant_of, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from locum.coordination.replica_report import Told
    from locum.store import Record, SessionStatus, Store

__all__ = ["PartitionRecords", "PartitionView", "SecondaryView", "pictured", "read_partitions", "read_records"]

_GRANTS: Final = grant_key(f"{KIND}/")
_LINES: Final = line_prefix(KIND)
_PLANS: Final = plan_key("", kind=KIND)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondaryView:
    """One replica of a partition that is not its primary.

    Attributes:
        instance: The instance that carries it.
        session: Its session; empty where it is only planned.
        is_ready: Whether it has caught up, and waits to be the primary; otherwise it is about to be there.
        position: Of the last record that it has; `None` if it has not told.
        lag: Seconds: all that was acknowledged earlier is in what it has; `None` if it has not told.
    """

    instance: str
    session: str = ""
    is_ready: bool = True
    position: int | None = None
    lag: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionView:
    """One partition of a stateful service.

    Attributes:
        service: The service's name.
        partition: The partition's name.
        index: Its place among the others, from 0.
        low: The lowest number that belongs to it; `None` if it has no range.
        high: The highest one.
        primary: The instance that is its primary; `None` if none is.
        session: The session of the primary; empty if there is none.
        token: The token of the primary, or of the last one.
        since: Since when it is that (ISO 8601, UTC); empty if there is none.
        position: Of the last record of the state, as its primary has told lately; `None` if it has not.
        secondaries: Those that stand by, the next one first, and then those that are about to.
        least: So many replicas it is to have at the least, as its instances say.
        previous: Where it has no primary: the instance that was; empty if none was.
        why: How that one ended, in words that follow its name; empty if unknown.
        reserved: Where it has no primary: the instance to which it was transferred; empty if to none.
        trouble: What of it cannot be read; empty if all can.
    """

    service: str
    partition: str
    index: int
    low: int | None = None
    high: int | None = None
    primary: str | None = None
    session: str = ""
    token: int = 0
    since: str = ""
    position: int | None = None
    secondaries: tuple[SecondaryView, ...] = ()
    least: int = 1
    previous: str = ""
    why: str = ""
    reserved: str = ""
    trouble: str = ""

    @property
    def name(self) -> str:
        """As commands name it."""
        return f"{self.service}/{self.partition}"

    @property
    def waiting(self) -> tuple[str, ...]:
        """The instances that could be the primary, the next one first."""
        return tuple(one.instance for one in self.secondaries if one.is_ready)

    @property
    def is_few(self) -> bool:
        """Whether fewer replicas are ready than are to be at the least."""
        return (self.primary is not None) + len(set(self.waiting)) < self.least


@dataclass(frozen=True, slots=True)
class PartitionRecords:
    """What the store says of partitions; sessions are to be read after it (R11)."""

    partitionings: Sequence[Record] = ()
    plans: Sequence[Record] = ()
    reports: Sequence[Record] = ()
    lines: Sequence[Record] = ()
    grants: Sequence[Record] = ()

    def holders(self) -> list[str]:
        """The sessions that are named as holders."""
        grants = [grant for grant in map(grant_of, self.grants) if isinstance(grant, Grant)]
        return [grant.holder.session for grant in grants if grant.holder is not None]


async def read_records(store: Store, service: str | None = None) -> PartitionRecords:
    """Read what there is of the partitions of one service, or of all.

    Raises:
        StoreError: The store does not answer.
    """
    below = f"{service}/" if service else ""
    partitionings = (await store.list(PARTITIONINGS)).records
    if not partitionings:
        return PartitionRecords()
    return PartitionRecords(
        [one for one in partitionings if service in (None, one.key.removeprefix(PARTITIONINGS))],
        (await store.list(_PLANS)).records,
        (await store.list(REPORTS + below)).records,
        (await store.list(_LINES + below)).records,
        (await store.list(_GRANTS + below)).records,
    )


async def read_partitions(store: Store, service: str | None = None) -> tuple[PartitionView, ...]:
    """The partitions of one service, or of all, by service and index.

    Args:
        store: The open store; nothing is written to it.
        service: The service's name; all services if none is given.

    Raises:
        StoreError: The store does not answer.
    """
    records = await read_records(store, service)
    sessions = (await store.sessions()).by_id
    gone = [one for one in records.holders() if one not in sessions]
    return pictured(records, sessions, (await store.sessions(gone)).by_id if gone else {})


def pictured(
    records: PartitionRecords, sessions: Mapping[str, SessionStatus], endings: Mapping[str, SessionStatus]
) -> tuple[PartitionView, ...]:
    """The picture of some records.

    Args:
        records: What was read.
        sessions: The open sessions.
        endings: What is known of those that grants name and that are not open.
    """
    seen = _Seen(
        {one.key.removeprefix(_PLANS): Plan.of(one) for one in records.plans},
        {one.key.removeprefix(_GRANTS): grant_of(one) for one in records.grants},
        lines_of(records.lines, records.grants, sessions, kind=KIND),
        _told(records.reports, sessions),
        sessions,
        endings,
    )
    found: list[PartitionView] = []
    for record in records.partitionings:
        service = record.key.removeprefix(PARTITIONINGS)
        try:
            parts = Partitioning.of(record).partitions
        except CorruptRecordError as error:
            found.append(PartitionView(service=service, partition="0", index=0, trouble=str(error)))
            continue
        found += [seen.view(service, part, len(parts)) for part in parts]
    return tuple(sorted(found, key=lambda one: (one.service, one.index)))


@dataclass(slots=True)
class _Seen:
    """What was read, by what it is about."""

    plans: Mapping[str, Plan]
    grants: Mapping[str, Grant | CorruptRecordError]
    lines: Mapping[str, Line]
    told: Mapping[str, _Service]
    sessions: Mapping[str, SessionStatus]
    endings: Mapping[str, SessionStatus]

    def view(self, service: str, part: Partition, of: int) -> PartitionView:
        told = self.told.get(service, _Service())
        scope = f"{service}/{part.index}"
        line = self.lines.get(scope, Line())
        view = PartitionView(
            service=service,
            partition=part.name,
            index=part.index,
            low=part.low,
            high=part.high,
            least=told.least,
            trouble=line.trouble,
        )
        grant = self.grants.get(scope, Grant())
        if isinstance(grant, CorruptRecordError):
            return replace(view, trouble=str(grant))
        view = self._with_primary(replace(view, token=grant.token), grant)
        ready = [told.secondary(part.index, session, instance) for session, instance in line.waiting]
        there = {view.primary, *(one.instance for one in ready)}
        coming = [
            SecondaryView(instance=name, is_ready=False)
            for name in self._planned(service, part.index, of)
            if name not in there
        ]
        at = told.said(part.index, view.session)
        return replace(view, secondaries=(*ready, *coming), position=None if at is None else at.position)

    def _with_primary(self, view: PartitionView, grant: Grant) -> PartitionView:
        holder = grant.holder
        if holder is None:
            view = replace(view, reserved=grant.reserved.instance) if grant.reserved else view
            return replace(view, previous=grant.past.instance, why=grant.past.why) if grant.past else view
        if holder.session in self.sessions:
            return replace(view, primary=holder.instance, session=holder.session, since=holder.since)
        ending = self.endings.get(holder.session)
        why = Ending.from_bytes(ending.reason).why if ending is not None and ending.is_closed else ""
        return replace(view, previous=holder.instance, why=why)

    def _planned(self, service: str, index: int, of: int) -> Iterable[str]:
        owners = self.plans.get(service, Plan()).owners
        each = len(owners) // of
        return [name for name in owners[index * each : (index + 1) * each] if name is not None]


@dataclass(slots=True)
class _Service:
    """What the instances of one service have told of its replicas."""

    least: int = 1
    by_session: dict[str, Mapping[int, Told]] = field(default_factory=dict)

    def said(self, index: int, session: str) -> Told | None:
        return self.by_session.get(session, {}).get(index)

    def secondary(self, index: int, session: str, instance: str) -> SecondaryView:
        told = self.said(index, session)
        if told is None:
            return SecondaryView(instance=instance, session=session)
        return SecondaryView(instance=instance, session=session, position=told.position, lag=told.lag)


def _told(reports: Sequence[Record], sessions: Mapping[str, SessionStatus]) -> Mapping[str, _Service]:
    """By service; what cannot be read tells nothing."""
    found: defaultdict[str, _Service] = defaultdict(_Service)
    for record in reports:
        service, _, session = record.key.removeprefix(REPORTS).partition("/")
        if session not in sessions:
            continue
        try:
            report = Report.of(record)
        except CorruptRecordError:
            continue
        found[service].by_session[session] = report.replicas
        found[service].least = max(found[service].least, report.least)
    return found
