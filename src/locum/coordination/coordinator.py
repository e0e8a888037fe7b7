"""The entry to the recipes, and what must be looked after for all of them at once."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from locum.clock import Clock, seconds
from locum.coordination.barrier import Barrier
from locum.coordination.client import ServiceClient
from locum.coordination.collecting import Collector
from locum.coordination.commons import Commons
from locum.coordination.contest import Wishes
from locum.coordination.election import Election
from locum.coordination.grant import Grant, Past
from locum.coordination.lock import Lock
from locum.coordination.members import Members
from locum.coordination.naming import Naming
from locum.coordination.nodes import Nodes
from locum.coordination.request import REQUESTS, Request
from locum.coordination.shards import Sharding, Shards
from locum.coordination.shared import ReadWriteLock, Semaphore
from locum.errors import ConflictError, CorruptRecordError, OutcomeUnknownError, StoreError, StoreUnavailableError
from locum.identity import host_name
from locum.keeper.budget import Budget
from locum.keeper.thread import KeeperThread
from locum.names import check_name
from locum.registry import make_store, open_when_there, without_secrets
from locum.scopes import Scope
from locum.store import ANY
from locum.telemetry import Events, logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from locum.coordination.grant import Holder
    from locum.store import Record

__all__ = ["Coordinator"]

_log = logger("coordination")

_MODES_A_RECORD: Final = 200  # a name has up to 128 letters: so many fit into a record for certain


class Coordinator:
    """Elections, locks, nodes, members and names under one instance's session; without a host it comes from `connect`.

    Args:
        commons: The store, the leases and what else the recipes share.
    """

    def __init__(self, commons: Commons) -> None:
        self._commons = commons
        self._collector = Collector(commons)

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        url: str,
        *,
        namespace: str = "default",
        ttl: float = 6.0,
        instance: str | None = None,
        enforcement: str = "cancel",
        hang_timeout: float = 30.0,
        timeout: float | None = 30.0,
    ) -> AsyncIterator[Coordinator]:
        """A coordinator in this process, with a session that a thread keeps for the length of the block.

        Args:
            url: The store that all instances share.
            namespace: Whose records these are.
            ttl: Seconds until this instance, if it cannot be seen, is taken for lost.
            instance: This instance's name; made of the machine's name and the pid if none is given.
            enforcement: What happens to work whose time is up: `cancel` cancels its task and refuses its token, `kill`
                has the kernel end this process besides.
            hang_timeout: Seconds after which an event loop that does not turn is given up; `math.inf` for never.
            timeout: Seconds to wait for the store; `None` waits for ever.

        Raises:
            ConfigurationError: The store can never be used so.
            SchemaError: It was written by a newer release.
            StoreUnavailableError: It was not there in time.
        """
        clock = Clock()
        name = check_name(instance or f"{host_name()}-{os.getpid()}", what="the name of an instance")
        budget = Budget.of_seconds(ttl)
        store = make_store(url, namespace=namespace, clock=clock)
        store.call_timeout = budget.call_seconds
        # every step back is made, even if one before it failed or was cancelled: a keeper that was left would beat on
        async with Scope("coordinator", on_error=_log_failure) as scope, AsyncExitStack() as back:
            events = Events(name, lambda work, what: scope.spawn(work, name=what))
            keeper = KeeperThread(
                lambda: make_store(url, namespace=namespace, clock=clock),
                name,
                budget.ttl,
                enforcement=enforcement,
                hang_timeout=hang_timeout,
                clock=clock,
                scope=scope,
                events=events,
            )
            back.push_async_callback(store.close)
            back.push_async_callback(keeper.close)
            coordinator = cls(Commons(store, keeper, events=events))
            back.push_async_callback(coordinator.close, patience=budget.call_seconds)
            limit = asyncio.timeout(timeout)
            try:
                async with limit:
                    await keeper.open()
                    store.seen = keeper.seen
                    await open_when_there(store, clock=clock, told=lambda why: _log.debug("%s", why))
            except TimeoutError:
                if timeout is None or not limit.expired():
                    raise
                raise StoreUnavailableError(without_secrets(url), f"no session within {timeout:g} s") from None
            await coordinator.open()
            back.push_async_callback(coordinator.end_leads, "was stopped")
            try:
                yield coordinator
            finally:
                if not coordinator._commons.origin.is_here:
                    back.pop_all()  # a forked child that leaves takes no step back: they are its parent's

    @property
    def one_machine(self) -> bool:
        """Whether all instances must live on this machine."""
        return self._commons.store.guarantees().one_machine

    async def open(self) -> None:
        """Begin to look after requests and leftovers."""
        self._commons.spawn(self._hear_requests(), "requests")
        self._commons.spawn(self._sweep(), "leftovers")
        self._commons.spawn(self._collector.run(), "idle grants")

    async def close(self, *, patience: float) -> None:
        """Let what must be settled be settled, at most so many seconds, and end."""
        if self._commons.idle:
            self._commons.settle(self._collector.collect(idle_for=0.0), "collect idle grants")
        await self._commons.close(patience=patience)

    async def end_leads(self, why: str) -> None:
        """Have every block that still leads end as planned, within its own `stop_timeout`."""
        for term in list(self._commons.terms.values()):
            term.ask_to_resign(why)
        if self._commons.leads:
            await asyncio.wait(self._commons.leads)

    def election(self, name: str, *, priority: int | None = 0, lock_delay: float = 0.0) -> Election:
        """The election of that name.

        Args:
            name: Its name.
            priority: Of those who wait, the ones with the highest are next; `None` waits without ever leading.
            lock_delay: Seconds for which nobody follows this instance if its term ends by a failure.
        """
        self._commons.origin.check()
        name = check_name(name, what="the name of an election")
        return Election(self._commons, name, priority=priority, lock_delay=lock_delay)

    def lock(
        self,
        name: str,
        *,
        timeout: float | None = None,
        reentrant: bool = False,
        lock_delay: float = 0.0,
        stop_timeout: float = 30.0,
        on_lost: Callable[[str], object] | None = None,
    ) -> Lock:
        """The lock of that name: `async with coordinator.lock("invoice-42") as held`.

        Args:
            name: Its name.
            timeout: Seconds to wait in line; `None` waits for ever, `0` asks once.
            reentrant: Whether the task that holds it may enter it again.
            lock_delay: Seconds for which nobody follows this holder if it fails; a release is followed at once.
            stop_timeout: Seconds that the block may take to end when somebody asks for it.
            on_lost: Called once, in the event loop, with the reason, when it is lost.
        """
        wishes = Wishes(timeout=timeout, reentrant=reentrant, stop_timeout=stop_timeout, on_lost=on_lost)
        return Lock(self._commons, self._named(name, "lock"), wishes, lock_delay=lock_delay)

    def read_write_lock(
        self,
        name: str,
        *,
        timeout: float | None = None,
        stop_timeout: float = 30.0,
        on_lost: Callable[[str], object] | None = None,
    ) -> ReadWriteLock:
        """The read-write lock of that name: `async with lock.read()`, `async with lock.write() as held`.

        Args:
            name: Its name.
            timeout: Seconds to wait in line; `None` waits for ever, `0` asks once.
            stop_timeout: Seconds that the block may take to end when somebody asks for it.
            on_lost: Called once, in the event loop, with the reason, when it is lost.
        """
        wishes = Wishes(timeout=timeout, stop_timeout=stop_timeout, on_lost=on_lost)
        return ReadWriteLock(self._commons, self._named(name, "lock"), wishes)

    def semaphore(
        self,
        name: str,
        *,
        permits: int,
        timeout: float | None = None,
        stop_timeout: float = 30.0,
        on_lost: Callable[[str], object] | None = None,
    ) -> Semaphore:
        """The semaphore of that name: `async with coordinator.semaphore("api", permits=3)`.

        Args:
            name: Its name.
            permits: How many there are, 1 to 160; all are to name the same number.
            timeout: Seconds to wait in line; `None` waits for ever, `0` asks once.
            stop_timeout: Seconds that the block may take to end when somebody asks for it.
            on_lost: Called once, in the event loop, with the reason, when it is lost.
        """
        wishes = Wishes(timeout=timeout, stop_timeout=stop_timeout, on_lost=on_lost)
        return Semaphore(self._commons, self._named(name, "semaphore"), permits, wishes)

    def barrier(self, name: str, *, parties: int) -> Barrier:
        """The barrier of that name: `await coordinator.barrier("loaded", parties=3).wait()`.

        Args:
            name: Its name.
            parties: How many wait for each other, 1 to 160; all are to name the same number.
        """
        return Barrier(self._commons, self._named(name, "barrier"), parties)

    def shards(self, name: str, sharding: Sharding | None = None) -> Shards:
        """The shards of that name; services take part in them by `host.sharded`.

        Args:
            name: The service's name.
            sharding: How it is sharded; all are to say the same of `of`.
        """
        return Shards(self._commons, self._named(name, "sharded service"), sharding or Sharding())

    @property
    def nodes(self) -> Nodes:
        """Small values, written by version and watched: `await coordinator.nodes.get("config/limits")`."""
        self._commons.origin.check()
        return Nodes(self._commons.store, accept=self._commons.session, session=self._commons.session)

    def members(self, group: str) -> Members:
        """Who is here: `async with coordinator.members("billing").join()`, and `watch` to see the others.

        Args:
            group: The name of the group.
        """
        return Members(self._commons, self._named(group, "group"))

    @property
    def naming(self) -> Naming:
        """Endpoints under the names of services: `await coordinator.naming.resolve("invoices")`."""
        self._commons.origin.check()
        return Naming(self._commons)

    def client(self, service: str, *, timeout: float = 10.0, listener: str = "", **settings: Any) -> ServiceClient:
        """A client over HTTP of the active one: `async with coordinator.client("invoices") as client`.

        Args:
            service: The name under which the active one publishes its address.
            timeout: Seconds that a request may take, with all that it waits and is repeated.
            listener: Which of its listeners, if it has several.
            settings: Whatever else `httpx2.AsyncClient` takes.
        """
        self._commons.origin.check()
        return ServiceClient(self._commons, service, timeout=timeout, listener=listener, **settings)

    def _named(self, name: str, kind: str) -> str:
        self._commons.origin.check()
        return check_name(name, what=f"the name of a {kind}")

    async def publish(self, modes: dict[str, dict[str, object]]) -> None:
        """Show what this instance's services do, for people; the records die with the session.

        Args:
            modes: By the service's name.
        """
        lease = await self._commons.leases.lease()
        await self._commons.meet(lease)
        owner = self._commons.leases.owner
        names = list(modes)
        for part in range(0, max(1, len(names)), _MODES_A_RECORD):
            shown = {name: modes[name] for name in names[part : part + _MODES_A_RECORD]}
            value = json.dumps({"instance": owner.name, "machine": owner.machine, "services": shown}).encode()
            key = f"member/{lease.session}/{part // _MODES_A_RECORD}"
            await self._commons.store.write(key, value, expect=ANY, session=lease.session)

    async def _hear_requests(self) -> None:
        """Hear, for all terms at once, that somebody asks for a planned end."""
        async with self._commons.store.changes([REQUESTS]) as changes:
            async for _ in changes:
                try:
                    requests = (await self._commons.store.list(REQUESTS)).records
                except StoreError as error:
                    _log.debug("requests cannot be read: %s", error)
                    continue
                self._commons.requests = dict(filter(None, map(_request, requests)))
                for scope in self._commons.requests:
                    self._commons.hear(scope)

    async def _sweep(self) -> None:
        """Give up, every ten TTLs, what names our session but nobody here runs or settles: grants, and places in lines.

        A grant would be held by nobody who knows (R17); a place, of a write that landed after its candidate had left,
        would hold up each later turn for a claim window (R23).
        """
        while True:
            lease = await self._commons.leases.lease()
            await self._commons.clock.sleep(10 * seconds(lease.budget.ttl))
            while not lease.is_lost:
                try:
                    await self._sweep_once(lease.session)
                except StoreError as error:
                    _log.debug("not everything that was left over is given up: %s", error)
                    if not isinstance(error, (StoreUnavailableError, OutcomeUnknownError)):
                        break
                    # again soon: in ten TTLs the next call may be lost as well
                    await self._commons.clock.sleep(seconds(lease.budget.beat))
                else:
                    break

    async def _sweep_once(self, session: str) -> None:
        grants = (await self._commons.store.list("grant/")).records
        places = (await self._commons.store.list("line/")).records
        for record in grants:
            await self._release_if_left_over(record, session)
        for record in places:
            await self._leave_if_left_over(record, session)
        await self._collector.look(grants, places)

    async def _release_if_left_over(self, record: Record, session: str) -> None:
        try:
            left = self._without_ours(Grant.of(record), session)
            if left is None:
                return
            await self._commons.store.write(record.key, left.to_bytes(), expect=record.revision)
            _log.warning("%s named us, though nobody here held it: released.", record.key)
        except ConflictError:
            pass  # it has moved on by itself
        except CorruptRecordError as error:
            _log.debug("it holds up nobody's sweep: %s", error)

    def _without_ours(self, grant: Grant, session: str) -> Grant | None:
        """A grant without what it says of us and nobody here knows; `None` if there is no such thing."""

        def is_unknown(one: Holder) -> bool:
            return one.session == session and one.attempt not in self._commons.attempts

        if grant.holder is not None:
            if not is_unknown(grant.holder):
                return None
            now, key = self._commons.clock.now(), self._commons.key
            holder = grant.holder
            return grant.given_up(
                Past(holder.attempt, holder.instance, holder.since, "held it without knowing", now, key)
            )
        left = grant
        for share in filter(is_unknown, grant.shares):
            left = left.without(share.attempt)
        return None if left is grant else left

    async def _leave_if_left_over(self, record: Record, session: str) -> None:
        if record.session != session or record.key.rpartition("/")[2] in self._commons.attempts:
            return
        try:
            await self._commons.store.delete(record.key, expect=record.revision)
        except ConflictError:
            pass  # it has moved on by itself


def _log_failure(task: str, error: BaseException) -> None:
    _log.error("%s failed", task, exc_info=error)


def _request(record: Record) -> tuple[str, Request] | None:
    try:
        return record.key.removeprefix(REQUESTS), Request.of(record)
    except CorruptRecordError as error:
        _log.warning("a request is not followed: %s", error)
        return None
