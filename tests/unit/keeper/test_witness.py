"""Closing on the kernel's word: only when keeper and worker are dead for certain, and nothing is left of them (R9)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from locum.clock import Clock, nanoseconds
from locum.identity import MachineKey, ProcessId, process_state, start_time
from locum.keeper.owner import Ending, Owner
from locum.keeper.witness import Witness
from locum.names import random_id
from locum.scopes import Scope
from locum.store import SessionState, SessionStatus
from locum.testing.faults import FaultyStore, Held, answer_lost, refused, request_lost
from tests.unit.keeper.children import Child, Children
from tests.unit.kit import opened, soon, turns, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LEADER = """
import os, signal
child = os.fork()
if child == 0:
    signal.pause()
print(child, flush=True)
signal.pause()
"""


class Watching:
    """A witness over a real store, and sessions of instances made of real processes."""

    def __init__(self, store: FaultyStore, scope: Scope) -> None:
        self.store = store
        self.witness = Witness(store, clock=Clock(), scope=scope)

    async def session_of(self, owner: Owner) -> str:
        session = random_id()
        await self.store.open_session(owner.to_bytes(), nanoseconds(60), session)
        return session

    def watch(self, session: str, owner: Owner, *, beat: int = 0) -> None:
        """Have the witness watch, after a look that showed this beat."""
        seen = SessionStatus(session, SessionState.OPEN, owner.to_bytes(), nanoseconds(60), beat)
        self.witness.watch(seen, owner)

    async def closed(self, session: str) -> Ending:
        """Wait until it is closed; how."""
        async with self.store.changes([f"session/{session}"]) as changes:
            while not (status := (await self.store.sessions([session])).by_id[session]).is_closed:
                await soon(anext(changes))
        return Ending.from_bytes(status.reason)

    async def is_open(self, session: str) -> bool:
        return (await self.store.sessions([session])).by_id[session].is_open


@dataclass(frozen=True)
class Pair:
    """The two processes of one instance."""

    keeper: Child
    worker: Child

    @property
    def owner(self) -> Owner:
        return Owner("web-2", "here", MachineKey.of_this_process(), self.keeper.identity, self.worker.identity)


@pytest.fixture
async def watching(tmp_path: Path) -> AsyncIterator[Watching]:
    async with opened(tmp_path / "store.db") as store, Scope("test") as scope:
        yield Watching(store, scope)


@pytest.fixture
def pair(children: Children) -> Pair:
    return Pair(children.sleeper(), children.sleeper())


async def nothing_happens(watching: Watching, session: str) -> None:
    """A later witness of a later death is heard of, and the session is still open: what was to come has come."""
    await turns()
    other = random_id()
    await watching.store.open_session(b"{}", nanoseconds(60), other)
    assert await watching.is_open(session)
    assert watching.store.count("close_session", session) == 0


async def test_both_dead_is_closed_with_the_instant_of_the_death(watching: Watching, pair: Pair) -> None:
    session = await watching.session_of(pair.owner)
    watching.watch(session, pair.owner)
    before = Clock().now()
    pair.keeper.die()
    pair.worker.die()
    ending = await watching.closed(session)
    assert ending.why == "died: its processes are gone"
    assert before <= ending.at <= Clock().now()
    assert ending.key == str(MachineKey.of_this_process())


async def test_one_that_was_silent_before_it_died_ended_with_its_last_beat(watching: Watching, pair: Pair) -> None:
    session = await watching.session_of(pair.owner)
    last = Clock().now() - nanoseconds(45)
    watching.watch(session, pair.owner, beat=last)
    pair.keeper.die()
    pair.worker.die()
    ending = await watching.closed(session)
    assert ending.why.startswith("fell silent for 45")
    assert abs(ending.at - last) < nanoseconds(1)


async def test_processes_that_are_dead_already_count_too(watching: Watching, pair: Pair) -> None:
    owner = pair.owner
    session = await watching.session_of(owner)
    pair.keeper.die()
    pair.worker.die()
    watching.watch(session, owner)
    await watching.closed(session)


async def test_a_zombie_is_dead(watching: Watching, pair: Pair) -> None:
    owner = pair.owner
    session = await watching.session_of(owner)
    pair.keeper.kill()
    pair.worker.kill()  # neither is reaped
    watching.watch(session, owner)
    await watching.closed(session)


@pytest.mark.parametrize("alive", ["keeper", "worker"])
async def test_one_of_them_alive_and_nothing_is_closed(watching: Watching, pair: Pair, alive: str) -> None:
    owner = pair.owner
    session, control = await watching.session_of(owner), await watching.session_of(owner)
    dead = pair.worker if alive == "keeper" else pair.keeper
    dead.die()
    watching.watch(session, owner)
    # the same death, with nobody left alive: when that is closed, the witness has had its chance at the other
    gone = replace(owner, keeper=ProcessId(dead.pid, 1), worker=ProcessId(dead.pid, 1))
    watching.watch(control, gone)
    await watching.closed(control)
    await nothing_happens(watching, session)
    (pair.keeper if alive == "keeper" else pair.worker).die()
    await watching.closed(session)


async def test_a_stopped_process_is_not_dead(watching: Watching, pair: Pair) -> None:
    import signal

    session = await watching.session_of(pair.owner)
    watching.watch(session, pair.owner)
    pair.keeper.die()
    pair.worker.send(signal.SIGSTOP)
    await until(lambda: process_state(pair.worker.pid) == "T", "the worker's stop")
    await nothing_happens(watching, session)


async def test_a_pid_that_has_passed_on_is_dead_and_its_new_owner_is_left_alone(watching: Watching, pair: Pair) -> None:
    keeper, worker = pair.keeper.identity, pair.worker.identity
    earlier = replace(
        pair.owner, keeper=ProcessId(keeper.pid, keeper.start - 1), worker=ProcessId(worker.pid, worker.start - 1)
    )
    session = await watching.session_of(earlier)
    watching.watch(session, earlier)
    await watching.closed(session)
    assert start_time(pair.keeper.pid) == keeper.start
    assert process_state(pair.worker.pid) not in ("Z", "X", None), "a stranger is not ended"


async def test_what_is_left_of_the_workers_group_is_ended_before_the_close(
    watching: Watching, children: Children
) -> None:
    keeper, worker = children.sleeper(), children.running(LEADER)
    left = children.stray(int(worker.line()))
    owner = Pair(keeper, worker).owner
    session = await watching.session_of(owner)
    closing = Held(answer=False)
    watching.store.plan("close_session", closing)
    watching.watch(session, owner)
    worker.die()
    assert process_state(left.pid) not in ("Z", "X", None), "the witness does not touch it while the keeper lives"
    keeper.die()
    await soon(closing.reached.wait())
    assert process_state(left.pid) in ("Z", None), "nothing was left when the close was sent"
    closing.let_go()
    await watching.closed(session)


async def test_what_an_embedded_one_leaves_is_not_ended(watching: Watching, children: Children) -> None:
    """Its group is its user's: the job of a shell, the processes of a web server."""
    embedded = children.running(LEADER)
    left = children.stray(int(embedded.line()))
    owner = Pair(embedded, embedded).owner
    assert owner.is_embedded
    session = await watching.session_of(owner)
    watching.watch(session, owner)
    embedded.die()
    await watching.closed(session)
    assert process_state(left.pid) == "S"


@pytest.mark.parametrize(
    ("enforcement", "silence", "words"),
    [
        ("kill", 55, " s, and its own timer ended it"),
        ("kill", 45, " s until it was ended: its processes are gone"),
        ("cancel", 55, " s until it was ended: its processes are gone"),
    ],
)
async def test_how_an_embedded_one_ended_after_a_silence(
    watching: Watching, children: Children, enforcement: str, silence: int, words: str
) -> None:
    """Of 60 s: only its own timer ends it at 85 %, and only where it has one."""
    embedded = children.sleeper()
    owner = replace(Pair(embedded, embedded).owner, enforcement=enforcement)
    session = await watching.session_of(owner)
    watching.watch(session, owner, beat=Clock().now() - nanoseconds(silence))
    embedded.die()
    ending = await watching.closed(session)
    assert ending.why.startswith(f"fell silent for {silence}")
    assert ending.why.endswith(words)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"boot": "another"}, id="another boot"),
        pytest.param({"pid_namespace": "pid:[1]"}, id="another pid namespace"),
        pytest.param({"time_namespace": "time:[1]"}, id="another time namespace"),
    ],
)
async def test_another_machine_key_is_never_witnessed(watching: Watching, pair: Pair, other: dict[str, str]) -> None:
    owner = replace(pair.owner, key=replace(MachineKey.of_this_process(), **other))
    session = await watching.session_of(owner)
    pair.keeper.die()
    pair.worker.die()
    assert not watching.witness.can_see(owner)
    watching.watch(session, owner)
    await nothing_happens(watching, session)


async def test_an_unknown_start_time_proves_nothing(watching: Watching, pair: Pair) -> None:
    unknown = replace(pair.owner, worker=ProcessId(pair.worker.pid, 0))
    assert watching.witness.can_see(pair.owner)
    assert not watching.witness.can_see(unknown)


async def test_the_close_is_repeated_until_it_is_answered(watching: Watching, pair: Pair) -> None:
    owner = pair.owner
    session = await watching.session_of(owner)
    watching.store.plan("close_session", request_lost, refused, answer_lost)
    pair.keeper.die()
    pair.worker.die()
    watching.watch(session, owner)
    await watching.closed(session)
    await until(lambda: watching.store.count("close_session") == 4, "an answered close")


async def test_what_is_forgotten_is_not_closed_any_more(watching: Watching, pair: Pair) -> None:
    owner = pair.owner
    session, control = await watching.session_of(owner), await watching.session_of(owner)
    watching.watch(session, owner)
    watching.watch(control, owner)
    watching.witness.forget({control})
    pair.keeper.die()
    pair.worker.die()
    await watching.closed(control)
    await nothing_happens(watching, session)
