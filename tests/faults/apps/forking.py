"""A body that forks while its term runs; its children use all that they have inherited, and tell what came of it.

By itself it is a coordinator in a process of its own (`Coordinator.connect`); under a keeper, a host.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locum import Coordinator, Host, Term
from locum.errors import ForkedError, TermEndedError
from locum.store import ANY
from tests.faults.apps.ledger import Ledger, take_order

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from locum.coordination.election import Election

host = Host("faults")
ledger = Ledger()
coordinators: list[Coordinator] = []
elections: list[Election] = []
told = Path(os.environ["FAULTS_ROWS"] + "-children")


async def _opened(self: Coordinator, real: Callable[[Coordinator], Awaitable[None]] = Coordinator.open) -> None:
    coordinators.append(self)
    elections.append(self.election("other"))
    await real(self)


Coordinator.open = _opened  # type: ignore[method-assign]  # a host does not hand out its own: here it must


def calls(term: Term) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every call on every handle."""
    coordinator, election = coordinators[0], elections[0]
    commons = coordinator._commons
    store, leases = commons.store, commons.leases
    yield "Coordinator.election", lambda: coordinator.election("x")
    yield "Coordinator.publish", lambda: coordinator.publish({})
    yield "Coordinator.open", lambda: coordinator.open()
    yield "Coordinator.close", lambda: coordinator.close(patience=1)
    yield "Election.win", lambda: election.win()
    yield "Election.lead", lambda: election.lead().__aenter__()
    yield "Election.resign", lambda: election.resign(term, "x")
    yield "Election.abandon", lambda: election.abandon(term)
    yield "Election.give_up", lambda: election.give_up(term, "x")
    yield "Election.rest", lambda: election.rest(term)
    yield "Term.is_current", lambda: term.is_current
    yield "Term.check", lambda: term.check()
    yield "Term.remaining", lambda: term.remaining
    yield "Term.ended", lambda: term.ended
    yield "Term.transaction", lambda: term.transaction(object()).__aenter__()
    yield "Term.fence", lambda: term.fence(object())
    yield "Term.sleep", lambda: term.sleep(0)
    yield "Term.every", lambda: term.every(1).__anext__()
    yield "Term.stopping", lambda: term.stopping
    yield "Term.deadline", lambda: term.deadline
    yield "Term.ready", lambda: term.ready()
    yield "leases.lease", lambda: leases.lease()
    yield "leases.arm", lambda: leases.arm(term.lease, token=1)
    yield "leases.disarm", lambda: leases.disarm(1)
    yield "leases.give_up", lambda: leases.give_up(term.lease, "x")
    yield "store.read", lambda: store.read("x")
    yield "store.write", lambda: store.write("x", b"x", expect=ANY)
    yield "store.delete", lambda: store.delete("x", expect=ANY)
    yield "store.list", lambda: store.list("x")
    yield "store.sessions", lambda: store.sessions()
    yield "store.beat", lambda: store.beat(term.lease.session, 2**62)
    yield "store.close_session", lambda: store.close_session(term.lease.session, reason=b"x")
    yield "store.health", lambda: store.health()
    yield "store.changes", lambda: store.changes(["x"]).__aenter__()


def let_through(term: Term) -> list[str]:
    """The calls that were not refused."""
    found = []
    for name, call in calls(term):
        try:
            outcome = call()
            if hasattr(outcome, "send"):
                outcome.send(None)  # up to its first wait, if it gets so far
        except ForkedError:
            continue
        except BaseException as error:
            found.append(f"{name}: {error!r}")
        else:
            found.append(name)
    return found


def tell(**what: object) -> None:
    with told.open("a") as file:
        file.write(json.dumps(what) + "\n")


def use(term: Term, kind: str) -> None:
    tell(kind=kind, pid=os.getpid(), let_through=let_through(term))


async def connect_anew() -> None:
    """What a child may do, as every process may."""
    url = os.environ["LOCUM_STORE"]
    async with (
        Coordinator.connect(url, namespace="faults", instance="child", ttl=3) as own,
        own.election("childs").lead(timeout=20) as term,
    ):
        await asyncio.sleep(0.1)
        tell(kind="own", current=term.is_current)


def fork(term: Term, kind: str) -> int:
    """Fork, and have the child use what it has; it does not come back, but for the way of its exit."""
    if kind == "multiprocessing":
        child = multiprocessing.get_context("fork").Process(target=use, args=(term, kind))
        child.start()
        assert child.pid is not None
        return child.pid
    pid = os.fork()
    if pid:
        return pid
    use(term, kind)
    if kind == "anew":
        asyncio.run(connect_anew())
    if kind == "exit":
        sys.exit(0)  # through the body, and through the loop that it was in
    os._exit(0)


@host.active_passive
async def settle(term: Term) -> None:
    async for _ in term.every(0.001):
        ledger.write(term.token)
        match take_order():
            case ["fork", kind]:
                pid = fork(term, kind)
                tell(kind="parent", child=kind, pid=pid)
        reap()


def reap() -> None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return
    if pid:
        tell(kind="ended", pid=pid, code=os.waitstatus_to_exitcode(status))


async def main() -> None:
    name, ttl = os.environ["LOCUM_INSTANCE"], float(os.environ["LOCUM_TTL"])
    async with Coordinator.connect(os.environ["LOCUM_STORE"], namespace="faults", instance=name, ttl=ttl) as own:
        while True:
            with suppress(TermEndedError):  # somebody asked for its end
                async with own.election("settle").lead() as term:
                    await settle(term)


if __name__ == "__main__":
    asyncio.run(main())
