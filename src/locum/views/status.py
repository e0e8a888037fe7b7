"""What runs where, at one moment: a picture read from the store alone.

A record that cannot be read is shown as such and spoils nothing else.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from locum.clock import seconds
from locum.coordination.grant import Grant
from locum.errors import CorruptRecordError
from locum.identity import MachineKey
from locum.keeper.owner import Ending, Owner
from locum.views.line import GRANTS, LINES, Line, grant_of, lines_of
from locum.views.partitions import PartitionView, pictured, read_records
from locum.views.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from locum.clock import Clock
    from locum.store import Record, SessionStatus, Store

__all__ = ["Instance", "Part", "Service", "Status", "read_status"]

_MEMBERS: Final = "member/"
_RUNS: Final = ("running", "active")  # the latter of a service that runs on a number of instances


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one instance does in one service.

    Attributes:
        service: The service's name.
        mode: What it does, as `locum.service.Mode` names it; empty if it has not said so.
        token: The token of its term, if it has or had one.
        since: Since when it does that (ISO 8601, UTC); empty if unknown.
        place: Its place in line, 1 for the next; `None` if it does not wait.
    """

    service: str
    mode: str
    token: int | None = None
    since: str = ""
    place: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One instance: one open session.

    Attributes:
        name: Its name; the session's id where its owner cannot be read.
        machine: Its machine's name.
        session: The session's id.
        keeper: The pid of the process that beats, as its own machine numbers it; `None` if unknown.
        worker: The pid of the process that works; `None` if unknown.
        enforcement: `kill` or `cancel`; empty if unknown.
        ttl: Its TTL in seconds.
        beat: The number of its last beat; `None` where the store times the session itself.
        beat_age: Seconds since its last beat; `None` if that cannot be known from here.
        parts: What it does, by the order in which its services were declared.
        trouble: What of it cannot be read; empty if all can.
    """

    name: str
    machine: str
    session: str
    keeper: int | None
    worker: int | None
    enforcement: str
    ttl: float
    beat: int | None
    beat_age: float | None
    parts: tuple[Part, ...]
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service of all instances.

    Attributes:
        name: Its name.
        exclusive: Whether one instance at a time is active in it; the others run on every instance.
        active: The instance that is active; `None` if none is.
        mode: What the active instance says that it does, `active` or `completed` for example; empty if unknown.
        session: The session of the active instance; empty if there is none.
        token: The token of the active instance, or of the last one.
        since: Since when it is active (ISO 8601, UTC); empty if unknown.
        previous: Where nobody is active: the instance that was; empty if none was.
        why: How that one ended, in words that follow its name; empty if unknown.
        reserved: Where nobody is active: the instance to which it was transferred; empty if to none.
        waiting: The instances in line, the next one first.
        running: On how many instances it runs, where it is not exclusive.
        partitions: Into how many it is divided; 0 if it is not.
        trouble: What of it cannot be read; empty if all can.
    """

    name: str
    exclusive: bool
    active: str | None = None
    mode: str = ""
    session: str = ""
    token: int = 0
    since: str = ""
    previous: str = ""
    why: str = ""
    reserved: str = ""
    waiting: tuple[str, ...] = ()
    running: int = 0
    partitions: int = 0
    trouble: str = ""

    @property
    def next(self) -> str | None:
        """The instance that is next in line."""
        return self.waiting[0] if self.waiting else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All instances and services of one namespace.

    Attributes:
        namespace: Whose they are: the host's name.
        store: The store's URL, without secrets.
        instances: Every instance, by name.
        services: Every service, by name.
        partitions: Those of stateful services, by service and index.
        jobs: The runs of its jobs; `None` where nobody has looked, or no job was ever declared.
        quarantine: Seconds for which an instance must watch the store before anything is granted in it, since it is not
            the one that was there before (R25); 0 if it is not in quarantine.
    """

    namespace: str
    store: str
    instances: tuple[Instance, ...]
    services: tuple[Service, ...]
    partitions: tuple[PartitionView, ...] = ()
    quarantine: float = 0.0
    jobs: Runs | None = None

    def service(self, name: str) -> Service | None:
        """The service of that name."""
        return next((one for one in self.services if one.name == name), None)

    def partitions_of(self, service: str) -> tuple[PartitionView, ...]:
        """The partitions of a service; none if it has none."""
        return tuple(one for one in self.partitions if one.service == service)


async def read_status(store: Store, *, clock: Clock) -> Status:
    """Read the picture of this moment.

    Args:
        store: The open store; nothing is written to it.
        clock: Tells the age of beats of this very machine.

    Raises:
        StoreError: The store does not answer.
    """
    # a session is read after what names it: one that is missing then is over, and not yet to come (R11)
    members = (await store.list(_MEMBERS)).records
    lines = (await store.list(LINES)).records
    grants = (await store.list(GRANTS)).records
    divided = await read_records(store)
    found = await store.sessions()
    sessions, now = found.by_id, clock.now()
    endings = await _endings(store, [*grants, *divided.grants], sessions)

    waiting = lines_of(lines, grants, sessions)
    said = _by_session(members)
    instances = [_instance(session, said.get(session.id), waiting, now) for session in sessions.values()]
    exclusive = [_exclusive(record, sessions, endings, said, waiting) for record in grants]
    partitions = pictured(divided, sessions, endings)
    counts = Counter(one.service for one in partitions)
    names = {service.name for service in exclusive}
    others = (_services(instances) | counts.keys()) - names
    everywhere = [replace(_everywhere(name, instances), partitions=counts[name]) for name in others]
    return Status(
        namespace=store.namespace,
        store=store.url,
        instances=tuple(sorted(instances, key=lambda one: (one.name, one.session))),
        services=tuple(sorted((*exclusive, *everywhere), key=lambda one: one.name)),
        partitions=partitions,
        quarantine=seconds(found.max_ttl) if found.quarantined else 0.0,
    )


# -- what the records say ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Said:
    """What an instance said of itself, or why that cannot be read."""

    parts: tuple[Part, ...] = ()
    trouble: str = ""

    def mode(self, service: str, token: int) -> str:
        return next((one.mode for one in self.parts if one.service == service and one.token == token), "")


def _by_session(members: Sequence[Record]) -> dict[str, _Said]:
    """What each instance said, by its session; one with many services says it in several records."""
    found: dict[str, _Said] = {}
    for record in members:
        session, said = record.key.removeprefix(_MEMBERS).partition("/")[0], _said(record)
        before = found.get(session, _Said())
        found[session] = _Said((*before.parts, *said.parts), before.trouble or said.trouble)
    return found


def _said(record: Record) -> _Said:
    try:
        services: dict[str, dict[str, Any]] = json.loads(record.value)["services"]
        parts = tuple(
            Part(service=str(name), mode=str(one["mode"]), token=_token(one["token"]), since=str(one["since"]))
            for name, one in services.items()
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return _Said(trouble=f"what it does is not readable ({error!r})")
    return _Said(parts)


def _token(value: Any) -> int | None:
    return None if value is None else int(value)


async def _endings(
    store: Store, grants: Sequence[Record], sessions: Mapping[str, SessionStatus]
) -> dict[str, SessionStatus]:
    """The sessions that grants name though they are not open any more."""
    gone = [
        grant.holder.session
        for grant in map(grant_of, grants)
        if isinstance(grant, Grant) and grant.holder is not None and grant.holder.session not in sessions
    ]
    return dict((await store.sessions(gone)).by_id) if gone else {}


# -- instances ---------------------------------------------------------------------------------------------------


def _instance(session: SessionStatus, said: _Said | None, waiting: Mapping[str, Line], now: int) -> Instance:
    said = said or _Said()
    unknown = Instance(
        name=session.id,
        machine="",
        session=session.id,
        keeper=None,
        worker=None,
        enforcement="",
        ttl=seconds(session.ttl),
        beat=session.beat,
        beat_age=None,
        parts=_placed(said.parts, session.id, waiting),
        trouble=said.trouble,
    )
    try:
        owner = Owner.from_bytes(session.owner)
    except CorruptRecordError as error:
        return replace(unknown, trouble=str(error))
    return replace(
        unknown,
        name=owner.name,
        machine=owner.machine,
        keeper=owner.keeper.pid,
        worker=owner.worker.pid,
        enforcement=owner.enforcement,
        beat_age=_beat_age(session, owner, now),
    )


def _placed(parts: tuple[Part, ...], session: str, waiting: Mapping[str, Line]) -> tuple[Part, ...]:
    """The parts with their places in line; one that waits and has not said so yet is added."""
    places = {name: line.place(session) for name, line in waiting.items()}
    known = {one.service for one in parts}
    unsaid = (Part(service=name, mode="", place=place) for name, place in places.items() if place and name not in known)
    return (*(replace(one, place=places.get(one.service)) for one in parts), *unsaid)


def _beat_age(session: SessionStatus, owner: Owner, now: int) -> float | None:
    """Seconds since the last beat, whose number is its owner's boot clock: it means something within one boot only."""
    if not session.beat or session.beat > now or owner.key != MachineKey.of_this_process():
        return None
    return seconds(now - session.beat)


# -- services ----------------------------------------------------------------------------------------------------


def _exclusive(
    record: Record,
    sessions: Mapping[str, SessionStatus],
    endings: Mapping[str, SessionStatus],
    said: Mapping[str, _Said],
    waiting: Mapping[str, Line],
) -> Service:
    name = record.key.removeprefix(GRANTS)
    line = waiting.get(name, Line())
    instances = tuple(instance for _, instance in line.waiting)
    service = Service(name=name, exclusive=True, waiting=instances, trouble=line.trouble)
    grant = grant_of(record)
    if isinstance(grant, CorruptRecordError):
        return replace(service, trouble=str(grant))
    service = replace(service, token=grant.token)
    holder = grant.holder
    if holder is None:
        service = replace(service, reserved=grant.reserved.instance) if grant.reserved else service
        return replace(service, previous=grant.past.instance, why=grant.past.why) if grant.past else service
    if holder.session not in sessions:
        return replace(service, previous=holder.instance, why=_why(endings.get(holder.session)))
    return replace(
        service,
        active=holder.instance,
        session=holder.session,
        since=holder.since,
        mode=said.get(holder.session, _Said()).mode(name, grant.token),
    )


def _why(session: SessionStatus | None) -> str:
    return Ending.from_bytes(session.reason).why if session is not None and session.is_closed else ""


def _services(instances: Iterable[Instance]) -> set[str]:
    return {part.service for one in instances for part in one.parts}


def _everywhere(name: str, instances: Iterable[Instance]) -> Service:
    running = sum(part.service == name and part.mode in _RUNS for one in instances for part in one.parts)
    return Service(name=name, exclusive=False, running=running)
