"""A look into the store, through the store contract, for tests that are not asynchronous."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from locum.clock import Clock
from locum.coordination.grant import Grant, grant_key
from locum.coordination.line import Entry, line_prefix
from locum.coordination.plan import Plan, plan_key
from locum.coordination.request import Request, request_key
from locum.errors import StoreUnavailableError
from locum.journal import Entry as JournalEntry
from locum.journal import Journal
from locum.keeper.owner import Ending, Owner
from locum.registry import make_store
from locum.store import ANY
from locum.views.shards import read_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Self

    from locum.store import SessionStatus
    from locum.views.shards import ShardView

__all__ = ["Window"]

P = ParamSpec("P")
T = TypeVar("T")


class Window:
    """What the store holds.

    Args:
        url: The store.
        namespace: Whose records.
    """

    def __init__(self, url: str, namespace: str) -> None:
        self._url, self._namespace = url, namespace

    def __enter__(self) -> Self:
        self._runner = asyncio.Runner()
        self._store = make_store(self._url, namespace=self._namespace, clock=Clock())
        self._store.call_timeout = 10.0
        self._do(self._store.open)
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._store.close)
        self._runner.close()

    def sessions(self) -> dict[str, SessionStatus]:
        """The open sessions by the name of their instance."""
        found = self._do(self._store.sessions)
        return {Owner.from_bytes(status.owner).name: status for status in found.by_id.values()}

    def session(self, session_id: str) -> SessionStatus:
        """One session, whatever became of it."""
        return self._do(self._store.sessions, [session_id]).by_id[session_id]

    def owners(self) -> dict[str, Owner]:
        """Who holds the open sessions, by the name of the instance."""
        return {name: Owner.from_bytes(status.owner) for name, status in self.sessions().items()}

    def services(self) -> dict[str, dict[str, Any]]:
        """What each instance shows of its services, by its name."""
        records = self._do(self._store.list, "member/").records
        members = [json.loads(record.value) for record in records]
        found: dict[str, dict[str, Any]] = {}
        for member in members:  # one with many services shows them in several records
            found.setdefault(member["instance"], {}).update(member["services"])
        return found

    def grant(self, service: str) -> Grant:
        """Who is active in a service."""
        return Grant.of(self._do(self._store.read, grant_key(f"election/{service}")))

    def grant_of(self, scope: str) -> Grant:
        """Who holds something, whatever it is."""
        return Grant.of(self._do(self._store.read, grant_key(scope)))

    def plan(self, service: str) -> Plan:
        """The plan of a sharded service."""
        return Plan.of(self._do(self._store.read, plan_key(service)))

    def plan_value(self, service: str) -> bytes:
        """The plan of a sharded service as it stands there."""
        record = self._do(self._store.read, plan_key(service))
        assert record is not None, f"there is no plan of {service}"
        return record.value

    def put_plan(self, service: str, value: bytes) -> None:
        """Write a plan over whatever is there."""
        self._do(self._store.write, plan_key(service), value, expect=ANY)

    def shards(self, service: str) -> tuple[ShardView, ...]:
        """The shards of a service."""
        return self._do(read_shards, self._store, service)

    def active_in(self) -> int:
        """How many scopes have a holder."""
        return sum(Grant.of(record).holder is not None for record in self._do(self._store.list, "grant/").records)

    def standing(self) -> int:
        """How many places are taken in all lines, those of the active ones too."""
        return len(self.keys("line/"))

    def change(self, key: str) -> None:
        """Write a record that is nobody's."""
        self._do(self._store.write, key, b"", expect=ANY)

    def line(self, service: str) -> list[str]:
        """Who stands in line for a service, the active one too."""
        return self.line_of(f"election/{service}")

    def line_of(self, scope: str) -> list[str]:
        """Who stands in line for something, whatever it is."""
        records = self._do(self._store.list, line_prefix(scope)).records
        return [Entry.of(record).instance for record in records]

    def keys(self, prefix: str) -> list[str]:
        """The keys of the records under a prefix, in the order of their creation."""
        return [record.key for record in self._do(self._store.list, prefix).records]

    def journal(self, service: str) -> dict[int, JournalEntry]:
        """The ended terms of a service by their tokens."""
        entries = self._do(Journal(self._store).entries, f"election/{service}")
        return {entry.token: entry for entry in entries}

    def close_session(self, session_id: str, why: str) -> None:
        """Close a session from outside, whatever its owner does."""
        self._do(self._store.close_session, session_id, reason=Ending(why).to_bytes())

    def close_all_sessions(self, why: str) -> None:
        """Close every session that is open, whatever the owners do."""
        for session in self._do(self._store.sessions).by_id:
            self.close_session(session, why)

    def ask_to_resign(self, service: str, token: int, why: str, *, successor: str = "") -> None:
        """Ask the active one for its planned end, for whoever is next or for a successor."""
        request = Request(token, why, successor)
        self._do(self._store.write, request_key(f"election/{service}"), request.to_bytes(), expect=ANY)

    def describe(self, service: str) -> str:
        """What a message should tell of one service."""
        sessions = [f"{name}: {status.id} beat {status.beat}" for name, status in sorted(self.sessions().items())]
        shown = [f"{name} shows {services.get(service)}" for name, services in sorted(self.services().items())]
        return "\n".join([*sessions, *shown, f"line: {self.line(service)}", str(self.grant(service))])

    def _do(self, call: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **options: P.kwargs) -> T:
        """A call; made once more where nothing came of it: between two calls nobody sees that a server has gone."""
        try:
            return self._runner.run(call(*args, **options))
        except StoreUnavailableError:
            return self._runner.run(call(*args, **options))
