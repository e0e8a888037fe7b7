"""Clusters for users: real instances that are watched, hurt and ended."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

import locum.testing
from locum.errors import ConfigurationError, TransferRefusedError
from locum.testing import WaitedInVainError, judge
from locum.testing.processes import has_ended, marked
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from locum.testing import Cluster, Ledger

APP = "billing:host"
SHORT, LONG = 1.5, 20.0  # TTLs: where one is waited for, and where that must not be


def processes_of(cluster: Cluster) -> list[int]:
    """All that runs in a cluster's folder, or is marked with it."""
    return marked(f"LOCUM_STORE=gated://{cluster.folder}")


async def at_work(cluster: Cluster, ledger: Ledger, token: int) -> None:
    """Wait until a body has written under its token."""
    await cluster.until(lambda: any(row.token == token for row in ledger.rows()), f"a row of the term {token}")


@pytest.mark.parametrize("what", ["worker", "keeper", "instance"])
async def test_killed_in_parts_or_as_a_whole(ledger: Ledger, what: Literal["worker", "keeper", "instance"]) -> None:
    async with locum.testing.cluster(APP, instances=2, ttl=LONG) as c:
        await c.standing()
        first = await c.active("settlement")
        await c.kill(first, what=what)
        second = await c.active("settlement", timeout=0.75 * LONG)
        assert second.name != first.name
        assert second.token > first.token
        assert c.names == (("i1", "i2") if what == "worker" else (second.name,))
        ended = await c.ended(first)
        assert ended.instance == first.name
        assert ended in await c.journal("settlement")
        await at_work(c, ledger, second.token)
        if what == "worker":
            await c.standing()  # with a new worker
        else:
            assert await c.start(first.name) == first.name
            await c.standing()
            assert await c.start() == "i3"
    assert judge(ledger.rows()) == []
    assert not processes_of(c)


async def test_frozen_until_another_took_over(ledger: Ledger) -> None:
    async with locum.testing.cluster(APP, instances=2, ttl=SHORT) as c:
        await c.standing()
        first = await c.active("settlement")
        await c.freeze(first)
        before = len(ledger.rows())
        second = await c.active("settlement")
        assert second.token > first.token
        assert not [row for row in ledger.rows()[before:] if row.token == first.token], "it stood still at once"
        await c.resume(first)
        await c.active("settlement", after=first)
        await c.until(lambda: first.name not in c.names, "the reaping of what the kernel has ended")
    assert judge(ledger.rows()) == []


async def test_frozen_for_a_moment_and_killed_while_frozen(ledger: Ledger) -> None:
    async with locum.testing.cluster(APP, instances=2, ttl=LONG) as c:
        await c.standing()
        first = await c.active("settlement")
        await c.freeze(first)
        await c.resume(first)
        assert await c.active("settlement") == first, "a moment costs no term"
        await c.freeze(first)
        await c.kill(first)
        assert (await c.active("settlement", timeout=0.75 * LONG)).token > first.token
    assert judge(ledger.rows()) == []


async def test_cut_off_and_healed(ledger: Ledger) -> None:
    """The one that is cut off ends its own work; nobody else may begin before; and it comes back."""
    async with locum.testing.cluster(APP, instances=3, ttl=SHORT) as c:
        await c.standing()
        first = await c.active("settlement")
        others = {one.name: one.session for one in (await c.status()).instances if one.name != first.name}
        await c.partition(first)
        second = await c.active("settlement")
        assert second.name != first.name
        await at_work(c, ledger, second.token)
        entry = await c.ended(first)
        assert "fell silent" in entry.why
        now = {one.name: one.session for one in (await c.status()).instances if one.name != first.name}
        assert now == others, "nobody but the one was cut off"
        assert first.name in c.names, "it was not killed: its keeper waits for the store"
        await c.until(lambda: "is no longer active" in c.output(first), "the end of its work")
        await c.heal(first)
        await c.standing()
        assert len(c.names) == 3
    assert judge(ledger.rows()) == []


async def test_planned_ends(ledger: Ledger) -> None:
    async with locum.testing.cluster(APP, instances=3, ttl=LONG) as c:
        await c.standing()
        first = await c.active("settlement")
        last = (await c.status()).service("settlement")
        assert last is not None
        second = await c.transfer("settlement", to=last.waiting[-1])
        assert second.name == last.waiting[-1]
        with pytest.raises(TransferRefusedError):
            await c.transfer("settlement", to=second.name)
        third = await c.resign("settlement")
        assert third.token > second.token > first.token
        assert await c.stop(third) == 0
        fourth = await c.active("settlement", after=third, timeout=0.75 * LONG)
        why = {entry.token: entry.why for entry in await c.journal("settlement")}
        assert why[first.token] == f"was transferred to {second.name} by a test"
        assert why[second.token] == "was asked to resign by a test"
        assert why[third.token] == "was stopped"
        await at_work(c, ledger, fourth.token)
    assert judge(ledger.rows()) == []


async def test_a_wait_in_vain_tells_what_there_is(ledger: Ledger) -> None:
    async with locum.testing.cluster(APP, instances=1, ttl=LONG) as c:
        first = await c.active("settlement")
        with pytest.raises(WaitedInVainError) as failure:
            await c.active("settlement", after=first, timeout=0.2)
        told = str(failure.value)
        assert "waited 0.2 s in vain for an instance to be active in settlement after i1 (1)" in told
        assert "settlement: i1 is active (token 1); in line: nobody" in told
        assert "i1 of billing runs settlement, poll" in told
        with pytest.raises(WaitedInVainError, match=r"waited 0.1 s in vain for nothing\n"):
            await c.until(lambda: False, "nothing", timeout=0.1)
        await c.kill("i1")
        with pytest.raises(WaitedInVainError, match="every instance has left"):
            await c.active("settlement")
        with pytest.raises(ConfigurationError, match=r"no service 'poll' .*; it has: settlement"):
            await c.active("poll")
        with pytest.raises(ConfigurationError, match="no instance 'i9'; it has: i1"):
            await c.freeze("i9")
    assert "is active in settlement (token 1)" in c.report(), "it can be read after the block too"
    with pytest.raises(ConfigurationError, match="inside its async with block"):
        await c.active("settlement")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "there is no module 'billing'"),
        ("hosts = 1", "billing has no host 'host'"),
        ("import nonsense_that_is_not_there", "No module named 'nonsense_that_is_not_there'"),
    ],
)
async def test_a_host_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if text:
        (tmp_path / "billing.py").write_text(text)
    with pytest.raises(ConfigurationError, match=why):
        async with locum.testing.cluster(APP):
            pytest.fail("the block was entered")


async def test_a_cancelled_block_leaves_nothing(ledger: Ledger) -> None:
    c = locum.testing.cluster(APP, instances=2, ttl=LONG)
    began = asyncio.Event()

    async def use() -> None:
        async with c:
            began.set()
            await asyncio.sleep(3600)

    task = asyncio.create_task(use())
    await began.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # also one that does not wait for the end
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not processes_of(c)
    assert not c.folder.exists()


def test_a_test_that_is_killed_leaves_nothing(tmp_path: Path, ledger: Ledger) -> None:
    """Nobody is left to end the instances but the process beside them."""
    (tmp_path / "user.py").write_text(
        "import asyncio, sys\n"
        "import locum.testing\n"
        "async def main():\n"
        f"    async with locum.testing.cluster('{APP}', instances=2, ttl={LONG}, folder=sys.argv[1]) as c:\n"
        "        await c.standing()\n"
        "        print('standing', flush=True)\n"
        "        await asyncio.sleep(3600)\n"
        "asyncio.run(main())\n"
    )
    folder = tmp_path / "cluster"
    command = [sys.executable, str(tmp_path / "user.py"), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"standing\n"
        mark = f"LOCUM_STORE=gated://{folder}"
        started = marked(mark)
        assert len(started) >= 6, "two guardians, keepers and workers"
        process.send_signal(signal.SIGKILL)
    until(lambda: all(has_ended(pid) for pid in started), "the end of all that a killed test has started")
    assert not marked(mark)
