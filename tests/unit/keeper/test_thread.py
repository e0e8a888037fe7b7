"""The keeper as a thread: its sessions, its bodies, and that nothing of it is left (R5 to R7, R19)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from locum.clock import Clock
from locum.errors import ConfigurationError, ForkedError, SchemaError, UnsupportedError
from locum.keeper.owner import Ending, Owner
from locum.keeper.thread import KeeperClosedError
from locum.registry import make_store
from locum.stores.sqlite import SqliteStore
from locum.telemetry import StoreLost, StoreRestored
from locum.testing.faults import refused
from tests.unit.keeper.kit import TTL, Kept, keepers, kept, tasks
from tests.unit.kit import open_files, opened, soon, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from locum.store import SessionStatus


async def status_of(path: Path, session: str) -> SessionStatus:
    async with opened(path) as store:
        return (await store.sessions([session])).by_id[session]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


async def test_a_first_session_is_open_under_this_process_as_keeper_and_worker(path: Path) -> None:
    async with kept(path) as one:
        lease = await soon(one.keeper.open())
        assert lease.is_current
        status = await status_of(path, lease.session)
        assert status.is_open
        owner = Owner.from_bytes(status.owner)
        assert (owner.name, owner.is_embedded, owner.enforcement) == ("web-1", True, "cancel")
        assert owner.worker.pid == os.getpid()
        assert one.keeper.owner == owner


async def test_it_beats_while_the_applications_loop_is_blocked(path: Path) -> None:
    async with kept(path) as one:
        lease = await soon(one.keeper.open())
        time.sleep(1.5 * TTL)  # noqa: ASYNC251 - that is what this is about
        assert lease.is_current
        assert not lease.is_lost


async def test_a_body_is_armed_under_the_lease_that_is_there_only(path: Path) -> None:
    async with kept(path) as one:
        lease = await soon(one.keeper.open())
        first, second = [await soon(one.keeper.arm(lease, token=7)) for _ in range(2)]
        assert first is not None
        assert second is not None
        assert first != second
        one.keeper.disarm(first)
        one.keeper.disarm(second)
        one.keeper.give_up(lease, "did not stop")
        await one.tells(StoreLost)
        assert await soon(one.keeper.arm(lease, token=8)) is None
        later = await soon(one.keeper.lease())
        assert later.generation == 2


async def test_a_store_that_is_away_costs_the_session_and_then_there_is_a_new_one(path: Path) -> None:
    async with kept(path) as one:
        lease = await soon(one.keeper.open())
        whys: list[str] = []
        lease.on_end(whys.append)
        handle = await soon(one.keeper.arm(lease, token=1))
        one.always(refused)
        await until(lambda: whys, "the deadline")
        assert (lease.is_current, lease.is_lost) == (False, False), (
            "at 60 % the term is over, and the session may yet live"
        )
        assert "no answer from the store" in whys[0]
        await one.tells(StoreLost)
        assert lease.is_lost
        one.always(None)
        later = await soon(one.keeper.lease())
        assert later.session != lease.session
        assert (later.is_current, lease.is_current) == (True, False)
        await one.tells(StoreRestored)
        assert (await status_of(path, lease.session)).is_closed
        assert handle is not None
        one.keeper.disarm(handle)  # of a session that is over: nobody minds
        assert await soon(one.keeper.arm(later, token=2)) is not None


async def test_a_body_that_is_given_up_counts_as_ended_and_the_others_have_until_the_deadline(path: Path) -> None:
    async with kept(path) as one:
        lease = await soon(one.keeper.open())
        stubborn, obedient = [await soon(one.keeper.arm(lease, token=n)) for n in (1, 2)]
        ended: list[str] = []
        lease.on_end(ended.append)
        one.keeper.give_up(lease, "did not stop within 20 s")
        assert stubborn is not None
        assert obedient is not None
        one.keeper.disarm(stubborn)
        await until(lambda: ended, "the end of the other term")
        assert not lease.is_current
        assert (await status_of(path, lease.session)).is_open, "it is closed while a body that obeys has not ended"
        one.keeper.disarm(obedient)
        assert (await soon(one.keeper.lease())).generation == 2
        status = await status_of(path, lease.session)
        assert Ending.from_bytes(status.reason).why == "lost its session: did not stop within 20 s"
        assert len([event for event in one.told if isinstance(event, StoreLost)]) == 1


async def test_a_body_that_never_ends_holds_the_session_until_its_deadline_only(path: Path) -> None:
    async with kept(path) as one:
        lease = await soon(one.keeper.open())
        assert await soon(one.keeper.arm(lease, token=1)) is not None
        one.keeper.give_up(lease, "did not stop")
        await one.tells(StoreLost)
        assert (await soon(one.keeper.lease())).generation == 2
        assert (await status_of(path, lease.session)).is_closed


async def test_a_close_by_somebody_else_ends_the_lease_at_once(path: Path) -> None:
    async with kept(path, ttl=6) as one:
        lease = await soon(one.keeper.open())
        assert await soon(one.keeper.arm(lease, token=1)) is not None
        async with opened(path) as store:
            await store.close_session(lease.session, reason=Ending("fell silent for 6.0 s").to_bytes())
        await one.tells(StoreLost)
        assert "fell silent" in lease.loss
        assert (await soon(one.keeper.lease())).generation == 2


async def test_a_stop_closes_the_session_before_anybody_else_may_take(path: Path) -> None:
    async with kept(path, ttl=60) as one:
        lease = await soon(one.keeper.open())
    assert lease.is_lost
    status = await status_of(path, lease.session)
    assert status.is_closed
    assert Ending.from_bytes(status.reason).why == "stopped"


async def test_a_stop_under_a_running_body_ends_its_term_before_the_session(path: Path) -> None:
    async with kept(path) as one:
        lease = await soon(one.keeper.open())
        handle = await soon(one.keeper.arm(lease, token=1))
        seen: list[bool] = []

        async def end() -> None:
            seen.append((await status_of(path, lease.session)).is_open)
            assert handle is not None
            one.keeper.disarm(handle)

        ending: list[asyncio.Task[None]] = []
        lease.on_end(lambda why: ending.append(asyncio.create_task(end())))
        await soon(one.keeper.close())
        await ending[0]
    assert seen == [True], "the session was closed before the body had ended"
    assert (await status_of(path, lease.session)).is_closed


async def test_nothing_is_left_after_a_close(path: Path) -> None:
    async with opened(path):
        pass
    files, threads = open_files(), len(keepers())
    timers, leases = _timers(), []
    for enforcement in ("cancel", "kill"):
        async with kept(path, enforcement=enforcement) as one:
            lease = await soon(one.keeper.open())
            leases.append(lease)
            handle = await soon(one.keeper.arm(lease, token=1))
            assert handle is not None
            one.keeper.disarm(handle)
    await until(lambda: len(keepers()) == threads, "the end of the threads")
    assert open_files() == files
    assert _timers() == timers
    assert tasks() == []
    assert [lease.is_current for lease in leases] == [False, False], "and whoever still holds one may ask"


def _timers() -> int:
    with open("/proc/self/timers") as file:  # noqa: PTH123 - as short as it can be
        return file.read().count("ID:")


async def test_what_was_never_opened_can_be_closed(path: Path) -> None:
    files = open_files()
    async with kept(path) as one:
        pass
    await one.keeper.close()
    assert open_files() == files
    with pytest.raises(KeeperClosedError):
        await one.keeper.lease()


async def test_a_closed_keeper_answers_nobody_and_lets_nobody_wait(path: Path) -> None:
    async with kept(path) as one:
        lease = await soon(one.keeper.open())
        waiting = asyncio.create_task(_another(one))
    with pytest.raises(KeeperClosedError):
        await soon(waiting)
    assert await soon(one.keeper.arm(lease, token=1)) is None
    one.keeper.give_up(lease, "too late")


async def _another(one: Kept) -> str:
    lost = asyncio.Event()
    lease = await one.keeper.lease()
    lease.on_end(lambda why: lost.set())
    await lost.wait()
    return (await one.keeper.lease()).session


async def test_a_close_while_the_store_hangs_is_bounded(path: Path) -> None:
    never = threading.Event()

    async def hangs(call: Callable[[], Awaitable[Any]]) -> Any:
        await asyncio.to_thread(never.wait, 8 * TTL)  # as a driver does whose call cannot be interrupted
        return await call()

    async with kept(path) as one:
        await soon(one.keeper.open())
        one.always(hangs)
        begun = time.monotonic()
        await one.keeper.close()
        assert time.monotonic() - begun < 6 * TTL
    never.set()
    await until(lambda: not keepers(), "the end of the thread that was left behind")


async def test_a_thread_that_was_left_behind_says_nothing_any_more(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its late words would arrive where another alarm may have the descriptor by now."""
    go = threading.Event()
    async with kept(path) as one:
        lease = await soon(one.keeper.open())
        closed = one.store
        assert closed is not None
        real = closed.close

        async def slow_close() -> None:
            go.wait(20)
            await real()

        monkeypatch.setattr(closed, "close", slow_close)
        monkeypatch.setattr("locum.keeper.thread._PATIENCE", -1.0)
        await soon(one.keeper.close())
    assert lease.is_lost
    told = list(one.told)
    failed: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: failed.append(context))
    go.set()
    await until(lambda: not keepers(), "the end of the thread")
    await asyncio.sleep(0.01)
    assert one.told == told
    assert failed == []


async def test_a_store_that_can_never_be_used_is_told_out_of_open(tmp_path: Path) -> None:
    async with kept(tmp_path / "nowhere" / "store.db") as one:
        with pytest.raises(ConfigurationError, match="does not exist"):
            await soon(one.keeper.open())
    async with kept(tmp_path, make=lambda: make_store("nosuch://x", namespace="billing", clock=Clock())) as one:
        with pytest.raises(ConfigurationError, match="nosuch"):
            await soon(one.keeper.open())
    assert not keepers()


async def test_a_store_of_a_newer_release_is_told_out_of_open(path: Path) -> None:
    class Newer(SqliteStore):
        async def open(self, *, make: bool = True) -> None:
            raise SchemaError(self.url, 9, 1)

    async with kept(path, make=lambda: Newer(path, namespace="billing", clock=Clock())) as one:
        with pytest.raises(SchemaError, match="9"):
            await soon(one.keeper.open())


async def test_an_error_that_nobody_expected_is_told_too(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Any:
        raise LookupError("a driver's own bug")

    async with kept(path, make=broken) as one:
        with pytest.raises(LookupError, match="own bug"):
            await soon(one.keeper.open())
    assert "the keeper of web-1 failed" in caplog.text


async def test_an_unknown_enforcement_is_refused_and_costs_nothing(path: Path) -> None:
    files = open_files()
    with pytest.raises(ConfigurationError, match="enforcement='hope' is not known: it is cancel or kill"):
        async with kept(path, enforcement="hope"):
            pass
    assert open_files() == files


async def test_kill_in_pid_1_is_refused_with_what_to_do(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("locum.keeper.timer.os.getpid", lambda: 1)
    # what refuses forked children must not take us for one
    monkeypatch.setattr("locum.identity.Origin.check", lambda self: None)
    async with kept(path, enforcement="kill") as one:
        with pytest.raises(UnsupportedError, match=r"PID 1, which ignores its own timer: run it under a small init"):
            await soon(one.keeper.open())


KILLED = """
import asyncio, sys, ctypes
from locum.clock import Clock, nanoseconds
from locum.keeper.thread import KeeperThread
from locum.registry import make_store
from locum.scopes import Scope
from locum.telemetry import Events

async def main():
    async with Scope("test") as scope:
        clock = Clock()
        keeper = KeeperThread(
            lambda: make_store(sys.argv[1], namespace="billing", clock=clock), "web-1", nanoseconds(1.0),
            enforcement="kill", hang_timeout=30.0, clock=clock, scope=scope,
            events=Events("web-1", lambda work, name: scope.spawn(work, name=name)))
        lease = await keeper.open()
        handle = await keeper.arm(lease, token=1)
        print("armed", flush=True)
        match sys.argv[2]:
            case "held": ctypes.PyDLL(None).usleep(2_000_000)
            case "given-up": keeper.give_up(lease, "did not stop"); keeper.disarm(handle); await asyncio.sleep(20)
            case "closed": await keeper.close()
            case "idle": keeper.disarm(handle); await asyncio.sleep(0.1); ctypes.PyDLL(None).usleep(2_000_000)
        print("lived on", flush=True)
        await keeper.close()

asyncio.run(main())
"""


@pytest.mark.parametrize(("how", "code"), [("held", -9), ("given-up", -9), ("closed", -9), ("idle", 0)])
def test_with_kill_a_body_never_outlives_its_session(path: Path, how: str, code: int) -> None:
    """The interpreter is held past the deadline; it is given up; it is closed over its head; or nothing runs."""
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, f"sqlite:///{path}", how], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == code, ended.stderr
    assert ended.stdout.splitlines() == (["armed", "lived on"] if code == 0 else ["armed"])


def test_a_forked_child_is_refused(path: Path) -> None:
    """In a process of its own: this one has threads that a fork would lose."""
    program = f"""
import asyncio, os, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from tests.unit.keeper.kit import kept
from locum.errors import ForkedError

async def main():
    async with kept(Path({str(path)!r})) as one:
        lease = await one.keeper.open()
        if (pid := os.fork()) == 0:
            refused = 0
            for call in (one.keeper.lease(), one.keeper.arm(lease, token=1), one.keeper.close()):
                try:
                    await call
                except {ForkedError.__name__}:
                    refused += 1
            plain_calls = lambda: lease.is_current, lambda: one.keeper.disarm(1), lambda: one.keeper.give_up(lease, "")
            for plain in plain_calls:
                try:
                    plain()
                except ForkedError:
                    refused += 1
            os._exit(refused)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code == 6, code
        assert lease.is_current
asyncio.run(main())
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=60)
