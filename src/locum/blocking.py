"""The same for plain functions: what a body written as `def` is given, and a coordinator for scripts that block.

Each facade stands before the handle of the same name and has no logic of its own. It reads the handle's memory, or runs
the handle's coroutine and waits for it: in the event loop, or in the body's own thread where a connection of the user's
is touched. Waiting ends when the body is asked to end.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from locum.coordination.fence import fence_of
from locum.errors import UnsupportedError
from locum.identity import Origin
from locum.scopes import own_loop, run_in
from locum.threads import loop_in_a_thread

if TYPE_CHECKING:
    import asyncio
    import logging
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from datetime import datetime
    from types import TracebackType

    from locum import context
    from locum.coordination import (
        barrier,
        contest,
        coordinator,
        election,
        hold,
        lock,
        members,
        naming,
        nodes,
        shard,
        shared,
        term,
    )

__all__ = [
    "Barrier",
    "Context",
    "Coordinator",
    "Election",
    "Held",
    "Hold",
    "Lock",
    "Members",
    "Membership",
    "Naming",
    "Nodes",
    "ReadWriteLock",
    "Run",
    "Shard",
    "Share",
    "Shared",
    "Standby",
    "Stopping",
    "Term",
    "connect",
]

F = TypeVar("F")
P = ParamSpec("P")
T = TypeVar("T")


class Context:
    """The circumstances of one run of a plain body.

    Its calls wait, so they are refused (`RuntimeError`) in a thread whose event loop runs. The properties may be read
    anywhere.
    """

    def __init__(self, handle: context.Context) -> None:
        self._handle = handle

    @property
    def name(self) -> str:
        """Whose body it is."""
        return self._handle.name

    @property
    def log(self) -> logging.Logger:
        """A logger for the body."""
        return self._handle.log

    @property
    def stopping(self) -> bool:
        """Whether the body has been asked to end."""
        return self._handle.stopping

    @property
    def deadline(self) -> float | None:
        """Seconds left until the body is ended by force; `None` as long as it has not been asked to end."""
        return self._handle.deadline

    def ready(self) -> None:
        """Say that the body does what it is there for."""
        self._handle.ready()

    def beat(self) -> None:
        """Say that the body goes on, for whoever watches its health; `every` and `sleep` say it by themselves."""
        self._handle.beat()

    def sleep(self, duration: float) -> None:
        """Pause for some seconds, or until the body is asked to end."""
        self._wait_for(self._handle.sleep, duration)

    def every(self, interval: float) -> Iterator[int]:
        """Repeat at once and then every `interval` seconds, without drift, until the body is asked to end.

        Yields:
            The number of the turn, from 0; missed ones are skipped.
        """
        turns = self._handle.every(interval)
        while (turn := self._wait_for(_next, turns)) is not None:
            yield turn

    def _wait_for(self, call: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = self._handle.loop  # asked before there is anything to be awaited: it may refuse
        return run_in(loop, call(*args, **kwargs))


class Stopping(Context):
    """What the plain body of a service that runs everywhere is given."""


class Standby(Context):
    """What a plain passive body is given: it ends when the instance becomes active, or stops."""


class Hold(Context):
    """One uninterrupted time of having something, as plain code sees it."""

    _handle: hold.Hold

    @property
    def scope(self) -> str:
        """The name under which it is coordinated."""
        return self._handle.scope

    @property
    def instance(self) -> str:
        """The instance that holds it."""
        return self._handle.instance

    @property
    def since(self) -> datetime:
        """When it began, for people."""
        return self._handle.since

    @property
    def is_current(self) -> bool:
        """Whether the work may go on at this very moment: a memory read, no I/O. Once `False`, never `True` again."""
        return self._handle.is_current

    @property
    def remaining(self) -> float:
        """Seconds for which it is certain, if no further beat is answered; 0 if it is over."""
        return self._handle.remaining

    @property
    def ended(self) -> str | None:
        """Why it is over, in words that follow the instance's name; `None` while it is not."""
        return self._handle.ended

    def check(self) -> None:
        """Raise `HoldEndedError` if it is over; no I/O."""
        self._handle.check()

    def _wait_for(self, call: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        outcome = super()._wait_for(call, *args, **kwargs)
        if self._handle.is_lost:
            self.check()  # the cancellation of those who cannot be cancelled
        return outcome


class Share(Hold):
    """A read or a permit, as plain code sees it."""

    def __init__(self, handle: hold.Share) -> None:
        super().__init__(handle)


class Term(Hold):
    """One uninterrupted time of being active, as a plain body sees it.

    Promises: no two terms of one scope share a token, and tokens only grow.
    Assumes: the writes that matter carry the token (`transaction`, `fence`), and an old one is refused.
    On loss: `sleep`, `every` and whatever checks raise `TermEndedError`, and the body is to let it through; what
    ignores that is ended with its process before anyone else may start. At a planned end `sleep` and `every` return.
    """

    _handle: term.Term

    def __init__(self, handle: term.Term) -> None:
        super().__init__(handle)

    @property
    def token(self) -> int:
        """The fencing token."""
        return self._handle.token

    @contextmanager
    def transaction(self, target: Any) -> Iterator[Any]:
        """A fenced transaction: begun, its token checked, committed at the end, rolled back on an error.

        Everything is done in the calling thread, on the connection that belongs to it.

        Args:
            target: A connection of sqlite3, psycopg or PyMySQL, a plain SQLAlchemy engine or connection, or an object
                that has one as its `engine` or `connection`.

        Yields:
            The connection to work with.

        Raises:
            TermEndedError: The term is over; nothing was begun.
            StaleTermError: A later term has raised the fence; nothing was written.
            UnsupportedError: It belongs to an event loop.
        """
        _refuse_async(target)
        with own_loop() as run, _entered(self._handle.transaction(target), run) as connection:
            yield connection

    def fence(self, connection: Any) -> None:
        """Check the token inside the transaction that is open on the user's connection.

        Raises:
            TermEndedError: The term is over.
            StaleTermError: A later term has raised the fence: roll back.
            UnsupportedError: The connection belongs to an event loop.
        """
        _refuse_async(connection)
        with own_loop() as run:
            run(self._handle.fence(connection))


class Run(Term):
    """One execution of one run of a job, as a plain body sees it, in a thread or in a process of its own.

    Promises, assumes: as `locum.jobs.run.Run`.
    On loss: in a thread `check`, `sleep`, `every` and `checkpoint` raise `TermEndedError`; a process is killed.
    """

    _handle: Any  # a run of `locum.jobs`, which stands above this room

    @property
    def id(self) -> str:
        """The run's id; the same in each attempt."""
        return str(self._handle.id)

    @property
    def fire_at(self) -> datetime:
        """The time for which it runs, whenever it does."""
        return self._handle.fire_at  # type: ignore[no-any-return]

    @property
    def attempt(self) -> int:
        """The number of this execution, from 1."""
        return int(self._handle.attempt)

    @property
    def params(self) -> dict[str, Any]:
        """What the job's declaration, or whoever asked for this run, gave it."""
        return self._handle.params  # type: ignore[no-any-return]

    @property
    def nonce(self) -> str:
        """Empty for a scheduled time; otherwise what tells apart who asked."""
        return str(self._handle.nonce)

    @property
    def part(self) -> int | None:
        """Which slice this is, from 0; `None` if it is none."""
        return self._handle.part  # type: ignore[no-any-return]

    @property
    def parts(self) -> int | None:
        """How many slices its run has; `None` if that is not cut."""
        return self._handle.parts  # type: ignore[no-any-return]

    @property
    def last_checkpoint(self) -> Any:
        """What an earlier attempt or run of this job kept last, or this one; `None` if none did."""
        return self._handle.last_checkpoint

    def checkpoint(self, value: Any) -> None:
        """Keep a value for this job's later attempts and runs; see `locum.jobs.run.Run.checkpoint`.

        Raises:
            TermEndedError: The run is not ours any more.
            StaleRunError: The same, as the job database says.
            ConfigurationError: It is too large, or nothing that JSON can tell.
        """
        self._wait_for(self._handle.checkpoint, value)

    def progress(self, done: float, of: float | None = None, note: str = "") -> None:
        """Say how far it is, for people, and that it goes on; see `locum.jobs.run.Run.progress`."""
        self._handle.progress(done, of, note)


class Held(Term):
    """A lock that is held, as plain code sees it: a term, and the value that goes with the lock."""

    _handle: lock.Held

    def __init__(self, handle: lock.Held) -> None:
        super().__init__(handle)

    @property
    def value(self) -> bytes | None:
        """The value as this holder found it or last set it; `None` if there is none. No I/O."""
        return self._handle.value

    def set(self, value: bytes | None) -> None:
        """Change the value that goes with the lock; see `locum.coordination.lock.Held.set`.

        Raises:
            TermEndedError: The hold is over; nothing was changed, or the session ended before the answer came.
            StaleTermError: A later holder has the lock; nothing was changed.
        """
        self._wait_for(self._handle.set, value)


class Shard(Term):
    """One uninterrupted time of owning one shard, as a plain body sees it: a term, and where the work stands."""

    _handle: shard.Shard

    def __init__(self, handle: shard.Shard) -> None:
        super().__init__(handle)

    @property
    def index(self) -> int:
        """Which one it is, from 0."""
        return self._handle.index

    @property
    def of(self) -> int:
        """How many there are."""
        return self._handle.of

    @property
    def lag(self) -> float | None:
        """How far its work is behind, in whatever the body counts; `None` if unknown."""
        return self._handle.lag

    @lag.setter
    def lag(self, lag: float | None) -> None:
        self._handle.lag = lag

    @property
    def position(self) -> Any:
        """The last checkpoint, of this owner or one before; `None` if there is none. No I/O."""
        return self._handle.position

    def checkpoint(self, position: Any) -> None:
        """Note where the work stands, for whoever owns the shard next; see `locum.coordination.shard.Shard`.

        Raises:
            TermEndedError: The shard is not ours any more; nothing was noted.
            StaleTermError: A later owner has it; nothing was noted.
        """
        self._wait_for(self._handle.checkpoint, position)


class _Contest(Generic[F]):
    """What is waited for and held, for code that blocks: as a context, or by its methods."""

    def __init__(self, handle: contest.Contest[Any], portal: _Portal, facade: Callable[[Any], F]) -> None:
        self._handle, self._portal, self._facade = handle, portal, facade
        self._entered: dict[threading.Thread, list[AbstractContextManager[F]]] = {}

    @contextmanager
    def hold(self, *, timeout: float | None = None, stop_timeout: float | None = None) -> Iterator[F]:
        """Wait for it and hold it for the length of the block.

        If somebody asks for its end, `stopping` is set and its pauses return: leave the block then.

        Args:
            timeout: Seconds to wait in line, `0` asks once; as was wished if it is not given.
            stop_timeout: Seconds that the block may take to end when somebody asks for it; then it counts as ended.

        Raises:
            WaitTimeoutError: It was not ours in time; no place in line is left behind.
        """
        holding = self._handle.hold(timeout=timeout, stop_timeout=stop_timeout, by=threading.current_thread())
        with _entered(holding, self._portal.run) as handle:
            yield self._facade(handle)

    @contextmanager
    def try_hold(self) -> Iterator[F | None]:
        """Ask once, and hold it for the length of the block if it is free; otherwise the block has `None`."""
        with _entered(self._handle.try_hold(by=threading.current_thread()), self._portal.run) as handle:
            yield None if handle is None else self._facade(handle)

    def __enter__(self) -> F:
        entering = self.hold()
        hold = entering.__enter__()
        self._entered.setdefault(threading.current_thread(), []).append(entering)
        return hold

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        thread = threading.current_thread()
        entered = self._entered[thread].pop()
        if not self._entered[thread]:
            del self._entered[thread]
        return entered.__exit__(kind, error, trace)


class Lock(_Contest[Held]):
    """One holder per name, for code that blocks: `with coordinator.lock("invoice-42") as held`.

    Promises: two holders never at once, turns in the order of coming, no two holds with one token.
    Assumes: the writes that matter carry the token (`held.transaction`, `held.fence`).
    On loss: nobody can cancel a thread; `held.check()`, `sleep`, `every`, `set` and `transaction` raise, `held.ended`
    says why, and `on_lost` is called once, in the coordinator's thread.
    """

    _handle: lock.Lock

    def __init__(self, handle: lock.Lock, portal: _Portal) -> None:
        super().__init__(handle, portal, Held)

    @property
    def name(self) -> str:
        """The name of the lock."""
        return self._handle.name

    def value(self) -> bytes | None:
        """The value that goes with the lock, as the store has it at this moment."""
        return self._portal.run(self._handle.value())


class Shared(_Contest[Share]):
    """A read or a permit, for code that blocks: waited for and held together with others."""

    def __init__(self, handle: shared.Shared, portal: _Portal) -> None:
        super().__init__(handle, portal, Share)


class ReadWriteLock:
    """One writer, or many readers, for code that blocks; see `locum.coordination.shared.ReadWriteLock`."""

    def __init__(self, handle: shared.ReadWriteLock, portal: _Portal) -> None:
        self._handle, self._portal = handle, portal

    def read(self) -> Shared:
        """To be held together with others who read."""
        return Shared(self._handle.read(), self._portal)

    def write(self) -> Lock:
        """To be held alone."""
        return Lock(self._handle.write(), self._portal)


class Barrier:
    """So many parties wait for each other, for code that blocks; see `locum.coordination.barrier.Barrier`."""

    def __init__(self, handle: barrier.Barrier, portal: _Portal) -> None:
        self._handle, self._portal = handle, portal

    def wait(self, *, timeout: float | None = None) -> None:
        """Arrive, and wait until all are there.

        Raises:
            WaitTimeoutError: They were not there in time; nobody waits for this party any more.
            SessionLostError: The session ended meanwhile.
        """
        self._portal.run(self._handle.wait(timeout=timeout))


class Election:
    """One leader per name, for code that blocks.

    Promises: no two terms share a token, and tokens only grow.
    Assumes: the writes that matter carry the token, and an old one is refused.
    On loss: nobody can cancel a thread; `sleep`, `every`, `check` and `transaction` of the term raise `TermEndedError`.
    """

    def __init__(self, handle: election.Election, portal: _Portal) -> None:
        self._handle, self._portal = handle, portal

    @property
    def name(self) -> str:
        """The name of the election."""
        return self._handle.name

    @contextmanager
    def lead(self, *, timeout: float | None = None, stop_timeout: float = 30.0) -> Iterator[Term]:
        """Wait for the lead and hold it for the length of the block.

        If somebody asks for its end, `stopping` is set and the term's pauses return: leave the block then.

        Args:
            timeout: Seconds to wait in line; `None` waits for ever.
            stop_timeout: Seconds that the block may take to end when somebody asks for it; then it counts as ended.

        Raises:
            WaitTimeoutError: The lead was not ours in time; no place in line is left behind.
        """
        leading = self._handle.lead(timeout=timeout, stop_timeout=stop_timeout)
        with _entered(leading, self._portal.run) as handle:
            yield Term(handle)

    def proclaim(self, value: bytes | None) -> None:
        """Set the value in office of the term that is held here: others `watch` it, and it ends with the term."""
        self._portal.run(self._handle.proclaim(value))

    def leader(self) -> election.Office | None:
        """Who leads, as the grant says at this moment; `None` if it is vacant."""
        return self._portal.run(self._handle.leader())

    def watch(self) -> Iterator[election.Office | None]:
        """Who leads and what it has proclaimed: at once, and again with each change; the last state always comes."""
        return self._portal.each(self._handle.watch())

    def transfer(self, *, to: str) -> None:
        """End the term that is held here, and leave the lead to an instance that waits in line.

        Raises:
            TransferRefusedError: Nothing is held here, its end is asked for already, or that instance does not wait.
        """
        self._portal.run(self._handle.transfer(to=to))

    def pause(self, why: str, *, by: str = "") -> None:
        """Forbid that it is taken over by itself: whoever leads goes on, and a transfer is carried out."""
        self._portal.run(self._handle.pause(why, by=by))

    def resume(self) -> None:
        """Allow it again."""
        self._portal.run(self._handle.resume())


class Nodes:
    """Small values that are read, written by version and watched, for code that blocks.

    See `locum.coordination.nodes.Nodes`.
    """

    def __init__(self, handle: nodes.Nodes, portal: _Portal) -> None:
        self._handle, self._portal = handle, portal

    def create(
        self, path: str, value: bytes = b"", *, session_bound: bool = False, numbered: bool = False
    ) -> nodes.Node:
        """Make a node that is not there yet.

        Raises:
            ConflictError: It is there already; carries it.
            SessionLostError: The session that it was to live with has ended; it is not there.
        """
        return self._portal.run(self._handle.create(path, value, session_bound=session_bound, numbered=numbered))

    def get(self, path: str) -> nodes.Node | None:
        """The latest of a node; `None` if it is not there."""
        return self._portal.run(self._handle.get(path))

    def set(self, path: str, value: bytes, *, version: int | None = None) -> nodes.Node:
        """Write a node, by version if one is given; otherwise it is made if it is not there.

        Raises:
            ConflictError: It has another version, or is not there; nothing was changed.
        """
        return self._portal.run(self._handle.set(path, value, version=version))

    def delete(self, path: str, *, version: int | None = None) -> None:
        """Delete a node, by version if one is given.

        Raises:
            ConflictError: It has another version; nothing was changed.
        """
        self._portal.run(self._handle.delete(path, version=version))

    def list(self, folder: str = "") -> tuple[nodes.Node, ...]:
        """The nodes below a folder, in the order of their creation; all without one."""
        return self._portal.run(self._handle.list(folder))

    def watch(self, path: str) -> Iterator[nodes.Node | None]:
        """A node: at once, and again after each change; the last state always comes."""
        return self._portal.each(self._handle.watch(path))

    def watch_list(self, folder: str = "") -> Iterator[tuple[nodes.Node, ...]]:
        """The nodes below a folder, just as `watch` shows one."""
        return self._portal.each(self._handle.watch_list(folder))


class Membership:
    """One's own membership, while its block runs, for code that blocks."""

    def __init__(self, handle: members.Membership, portal: _Portal) -> None:
        self._handle, self._portal = handle, portal

    def update(
        self, *, load: float | None = None, version: str | None = None, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Say something else; what is not given stays as it is. Returns when others can see it."""
        self._portal.run(self._handle.update(load=load, version=version, metadata=metadata))


class Members:
    """The members of one group, for code that blocks; see `locum.coordination.members.Members`."""

    def __init__(self, handle: members.Members, portal: _Portal) -> None:
        self._handle, self._portal = handle, portal

    @contextmanager
    def join(
        self, *, version: str = "", load: float | None = None, metadata: Mapping[str, str] | None = None
    ) -> Iterator[Membership]:
        """Be a member for the length of the block; under each session of this instance, if one is lost."""
        joining = self._handle.join(version=version, load=load, metadata=metadata)
        with _entered(joining, self._portal.run) as handle:
            yield Membership(handle, self._portal)

    def list(self) -> tuple[members.Member, ...]:
        """Who is here, in the order of joining."""
        return self._portal.run(self._handle.list())

    def watch(self) -> Iterator[tuple[members.Member, ...]]:
        """Who is here: at once, and again after each change; the last state always comes."""
        return self._portal.each(self._handle.watch())

    def changes(self) -> Iterator[members.Difference]:
        """Who left, joined, or says something else, from one look to the next."""
        return self._portal.each(self._handle.changes())


class Naming:
    """The endpoints of the services of a namespace, for code that blocks; see `locum.coordination.naming.Naming`."""

    def __init__(self, handle: naming.Naming, portal: _Portal) -> None:
        self._handle, self._portal = handle, portal

    @contextmanager
    def publish(self, service: str, address: str, *, term: Term | None = None) -> Iterator[None]:
        """Publish an endpoint for the length of the block; with `term`, that of the one that is active.

        Raises:
            TermEndedError: The term is over; nothing is published.
        """
        publishing = self._handle.publish(service, address, term=None if term is None else term._handle)
        with _entered(publishing, self._portal.run):
            yield

    def resolve(self, service: str) -> naming.Endpoint | None:
        """Where the one that is active in a service is to be reached; `None` if none is published."""
        return self._portal.run(self._handle.resolve(service))

    def list(self, service: str) -> tuple[naming.Endpoint, ...]:
        """All endpoints of a service, in the order of publishing."""
        return self._portal.run(self._handle.list(service))

    def watch(self, service: str) -> Iterator[naming.Endpoint | None]:
        """Where the active one is: at once, and again after each change; the last state always comes."""
        return self._portal.each(self._handle.watch(service))

    def watch_list(self, service: str) -> Iterator[tuple[naming.Endpoint, ...]]:
        """All endpoints of a service, just as `watch` shows one."""
        return self._portal.each(self._handle.watch_list(service))


class Coordinator:
    """Elections, locks, barriers and nodes under one instance's session, for code that blocks; it comes from `connect`.

    The arguments are those of `locum.Coordinator`'s methods of the same names.
    """

    def __init__(self, handle: coordinator.Coordinator, portal: _Portal) -> None:
        self._handle, self._portal = handle, portal

    @property
    def one_machine(self) -> bool:
        """Whether all instances must live on this machine."""
        return self._handle.one_machine

    def election(self, name: str, *, priority: int | None = 0, lock_delay: float = 0.0) -> Election:
        """The election of that name."""
        return Election(self._handle.election(name, priority=priority, lock_delay=lock_delay), self._portal)

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
        """The lock of that name; where it may be entered again, that is by the same thread."""
        handle = self._handle.lock(
            name,
            timeout=timeout,
            reentrant=reentrant,
            lock_delay=lock_delay,
            stop_timeout=stop_timeout,
            on_lost=on_lost,
        )
        return Lock(handle, self._portal)

    def read_write_lock(
        self,
        name: str,
        *,
        timeout: float | None = None,
        stop_timeout: float = 30.0,
        on_lost: Callable[[str], object] | None = None,
    ) -> ReadWriteLock:
        """The read-write lock of that name."""
        handle = self._handle.read_write_lock(name, timeout=timeout, stop_timeout=stop_timeout, on_lost=on_lost)
        return ReadWriteLock(handle, self._portal)

    def semaphore(
        self,
        name: str,
        *,
        permits: int,
        timeout: float | None = None,
        stop_timeout: float = 30.0,
        on_lost: Callable[[str], object] | None = None,
    ) -> Shared:
        """The semaphore of that name."""
        handle = self._handle.semaphore(
            name, permits=permits, timeout=timeout, stop_timeout=stop_timeout, on_lost=on_lost
        )
        return Shared(handle, self._portal)

    def barrier(self, name: str, *, parties: int) -> Barrier:
        """The barrier of that name."""
        return Barrier(self._handle.barrier(name, parties=parties), self._portal)

    @property
    def nodes(self) -> Nodes:
        """Small values that are read, written by version and watched."""
        return Nodes(self._handle.nodes, self._portal)

    def members(self, group: str) -> Members:
        """Who is here, in the group of that name."""
        return Members(self._handle.members(group), self._portal)

    @property
    def naming(self) -> Naming:
        """Endpoints under the names of services."""
        return Naming(self._handle.naming, self._portal)


@contextmanager
def connect(
    url: str,
    *,
    namespace: str = "default",
    ttl: float = 6.0,
    instance: str | None = None,
    enforcement: str = "cancel",
    hang_timeout: float = 30.0,
    timeout: float | None = 30.0,
) -> Iterator[Coordinator]:
    """A coordinator for code that blocks, kept in threads of its own for the length of the block.

    The arguments and the errors are those of `locum.Coordinator.connect`.
    """
    from locum.coordination.coordinator import Coordinator as AsyncCoordinator  # whoever has a host needs none of it

    connecting = AsyncCoordinator.connect(
        url,
        namespace=namespace,
        ttl=ttl,
        instance=instance,
        enforcement=enforcement,
        hang_timeout=hang_timeout,
        timeout=timeout,
    )
    with loop_in_a_thread("locum-coordinator") as loop:
        portal = _Portal(loop)
        with _entered(connecting, portal.run) as handle:
            yield Coordinator(handle, portal)


class _Portal:
    """The way into the coordinator's loop; a forked child has no such loop, and would wait for it for ever (R30)."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._origin = loop, Origin("the coordinator")

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._origin.is_here:
            work.close()
        self._origin.check()
        return run_in(self._loop, work)

    def each(self, states: AsyncIterator[T]) -> Iterator[T]:
        """What an asynchronous generator yields, for a plain `for`."""
        try:
            while True:
                yield self.run(anext(states))  # type: ignore[arg-type]
        finally:
            self.run(states.aclose())  # type: ignore[attr-defined]


async def _next(turns: AsyncIterator[int]) -> int | None:
    return await anext(turns, None)


def _refuse_async(target: Any) -> None:
    if fence_of(target).is_async:
        raise UnsupportedError(
            f"a plain def cannot use {type(target).__name__}, which belongs to an event loop: give a plain"
            " connection (sqlite3, psycopg, PyMySQL) or SQLAlchemy engine, or write async def"
        )


@contextmanager
def _entered(manager: AbstractAsyncContextManager[T], run: Callable[[Coroutine[Any, Any, Any]], Any]) -> Iterator[T]:
    """An asynchronous context for a plain `with`, whose every step is run by `run`."""
    value = run(manager.__aenter__())
    try:
        yield value
    except BaseException as error:
        if not run(manager.__aexit__(type(error), error, error.__traceback__)):
            raise
    else:
        run(manager.__aexit__(None, None, None))
