"""Who was active in what, when, and why it ended: a picture read from the store alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from locum.coordination.grant import Grant, grant_key
from locum.coordination.partitions import PARTITIONINGS, Partitioning
from locum.coordination.replica_report import KIND
from locum.errors import CorruptRecordError
from locum.journal import Entry

if TYPE_CHECKING:
    from locum.store import Record, Store

__all__ = ["RunningTerm", "ServiceJournal", "read_journal"]

_ELECTION: Final = "election"


@dataclass(frozen=True, slots=True)
class RunningTerm:
    """The term that has not ended.

    Attributes:
        token: Its token.
        instance: The active instance.
        since: When it began (ISO 8601, UTC).
    """

    token: int
    instance: str
    since: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceJournal:
    """The terms of one service, or of one partition of it.

    Attributes:
        name: The service's name, or `SERVICE/PARTITION`.
        entries: The last terms that have ended, the newest last.
        running: The term that runs; `None` if nobody is active.
        troubles: What of it cannot be read.
    """

    name: str
    entries: tuple[Entry, ...] = ()
    running: RunningTerm | None = None
    troubles: tuple[str, ...] = ()


async def read_journal(store: Store, service: str | None = None) -> tuple[ServiceJournal, ...]:
    """Read the journal of one service, or of all by name; of a stateful one that of each partition.

    Args:
        store: The open store; nothing is written to it.
        service: The service's name, or `SERVICE/PARTITION`; `None` for all.

    Raises:
        StoreError: The store does not answer.
    """
    names = await _partitions(store, service)
    grants = await _grants(store, _ELECTION)
    records = (await store.list(f"journal/{_ELECTION}/")).records
    divided = await _grants(store, KIND) if names else {}
    theirs = (await store.list(f"journal/{KIND}/")).records if names else ()
    open_sessions = set((await store.sessions()).by_id)
    found: dict[str, ServiceJournal] = {}
    for name, record in grants.items():
        if service in (None, name):
            found[name] = _with_grant(ServiceJournal(name=name), record, open_sessions)
    for record in records:
        name = record.key.removeprefix(f"journal/{_ELECTION}/").rpartition("/")[0]
        if service in (None, name):
            found[name] = _with_entry(found.get(name, ServiceJournal(name=name)), record)
    parts = {scope: ServiceJournal(name=name) for scope, name in names.items()}
    for scope, record in divided.items():
        if scope in parts:
            parts[scope] = _with_grant(parts[scope], record, open_sessions)
    for record in theirs:
        scope = _scope_of(record)
        if scope in parts:
            parts[scope] = _with_entry(parts[scope], record)
    # many partitions that have only ever had one primary would hide what there is to be seen
    told = [one for one in parts.values() if one.entries or one.troubles or (service is not None and one.running)]
    return tuple(map(_in_order, (*(found[name] for name in sorted(found)), *told)))


async def _grants(store: Store, kind: str) -> dict[str, Record]:
    """The grants of one kind of scopes, by what follows the kind."""
    prefix = grant_key(f"{kind}/")
    return {one.key.removeprefix(prefix): one for one in (await store.list(prefix)).records}


async def _partitions(store: Store, wanted: str | None) -> dict[str, str]:
    """By scope the names of the partitions that are wanted, in their order: all, those of a service, or one."""
    found: dict[str, str] = {}
    for record in (await store.list(PARTITIONINGS)).records:
        service = record.key.removeprefix(PARTITIONINGS)
        try:
            names = Partitioning.of(record).names
        except CorruptRecordError:
            continue  # `status` tells of it
        for index, name in enumerate(names):
            if wanted in (None, service, f"{service}/{name}"):
                found[f"{service}/{index}"] = f"{service}/{name}"
    return found


def _scope_of(record: Record) -> str:
    """Of which partition an entry tells; their entries are kept together."""
    try:
        return Entry.of(record).scope.removeprefix(f"{KIND}/")
    except CorruptRecordError:
        return ""


def _with_grant(journal: ServiceJournal, record: Record, open_sessions: set[str]) -> ServiceJournal:
    try:
        grant = Grant.of(record)
    except CorruptRecordError as error:
        return replace(journal, troubles=(str(error),))
    holder = grant.holder
    if holder is None or holder.session not in open_sessions:
        return journal
    return replace(journal, running=RunningTerm(grant.token, holder.instance, holder.since))


def _with_entry(journal: ServiceJournal, record: Record) -> ServiceJournal:
    try:
        entry = Entry.of(record)
    except CorruptRecordError as error:
        return replace(journal, troubles=(*journal.troubles, str(error)))
    return replace(journal, entries=(*journal.entries, entry))


def _in_order(journal: ServiceJournal) -> ServiceJournal:
    # by token, for a successor may note an end after its own term is over
    entries = tuple(sorted(journal.entries, key=lambda entry: entry.token))
    running = journal.running
    if running is not None and entries and entries[-1].token >= running.token:
        running = None  # it ended after its grant was read
    return replace(journal, entries=entries, running=running)
