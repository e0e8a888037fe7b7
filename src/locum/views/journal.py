"""Who was active in what, when, and why it ended: a picture read from the store alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from locum.coordination.grant import Grant, grant_key
from locum.errors import CorruptRecordError
from locum.journal import Entry

if TYPE_CHECKING:
    from locum.store import Record, Store

__all__ = ["RunningTerm", "ServiceJournal", "read_journal"]

_ELECTION: Final = "election/"
_ENTRIES: Final = f"journal/{_ELECTION}"


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
    """The terms of one service.

    Attributes:
        name: The service's name.
        entries: The last terms that have ended, the newest last.
        running: The term that runs; `None` if nobody is active.
        troubles: What of it cannot be read.
    """

    name: str
    entries: tuple[Entry, ...] = ()
    running: RunningTerm | None = None
    troubles: tuple[str, ...] = ()


async def read_journal(store: Store, service: str | None = None) -> tuple[ServiceJournal, ...]:
    """Read the journal of one service, or of all by name.

    Args:
        store: The open store; nothing is written to it.
        service: The service's name; `None` for all.

    Raises:
        StoreError: The store does not answer.
    """
    prefix = f"{_ENTRIES}{service}/" if service else _ENTRIES
    grants = (await store.list(grant_key(_ELECTION))).records
    records = (await store.list(prefix)).records
    open_sessions = (await store.sessions()).by_id
    found: dict[str, ServiceJournal] = {}
    for record in grants:
        name = record.key.removeprefix(grant_key(_ELECTION))
        if service in (None, name):
            found[name] = _with_grant(ServiceJournal(name=name), record, set(open_sessions))
    for record in records:
        name = record.key.removeprefix(_ENTRIES).rpartition("/")[0]
        found[name] = _with_entry(found.get(name, ServiceJournal(name=name)), record)
    return tuple(_in_order(found[name]) for name in sorted(found))


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
