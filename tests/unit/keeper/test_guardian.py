"""The process above the keeper: passes signals on, leaves with its code, ends what it left behind."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from locum.identity import process_state
from tests.unit.kit import until

if TYPE_CHECKING:
    from tests.unit.keeper.children import Children

KEEPER = """
import os, signal, sys, time
from locum.keeper.guardian import stand_guard
stand_guard()
{keeper}
"""


@pytest.mark.parametrize("code", [0, 1, 75, 78])
def test_it_leaves_with_the_keepers_code(children: Children, code: int) -> None:
    assert children.running(KEEPER.format(keeper=f"os._exit({code})")).wait() == code


def test_a_keeper_that_was_killed_is_told_by_the_code(children: Children) -> None:
    program = KEEPER.format(keeper="os.kill(os.getpid(), signal.SIGKILL)")
    assert children.running(program).wait() == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT])
def test_signals_are_passed_on(children: Children, number: int) -> None:
    program = f"""
signal.pthread_sigmask(signal.SIG_BLOCK, {{{int(number)}}})
print("ready", flush=True)
signal.sigwait({{{int(number)}}})
os._exit(7)
"""
    child = children.running(KEEPER.format(keeper=program))
    assert child.line() == "ready"
    child.send(number)
    assert child.wait() == 7


async def test_what_a_killed_keeper_leaves_behind_is_ended(children: Children) -> None:
    program = """
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
child = os.fork()
if child == 0:
    os.setsid()
    time.sleep(60)
print(child, flush=True)
signal.sigwait({signal.SIGTERM})
os.kill(os.getpid(), signal.SIGKILL)
"""
    guardian = children.running(KEEPER.format(keeper=program))
    left = children.stray(int(guardian.line()))
    guardian.send(signal.SIGTERM)
    assert guardian.wait() == 128 + signal.SIGKILL
    assert process_state(left.pid) in ("Z", "X", None)


async def test_the_keeper_dies_with_its_guardian(children: Children) -> None:
    guardian = children.running(KEEPER.format(keeper="print(os.getpid(), flush=True)\ntime.sleep(60)"))
    keeper = children.stray(int(guardian.line()))
    guardian.die()
    await until(lambda: process_state(keeper.pid) in ("Z", "X", None), "the keeper's end")


def test_many_signals_at_once_end_it_all_the_same(children: Children) -> None:
    program = """
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
for _ in range(50):
    if os.fork() == 0:
        os._exit(0)  # so that the guardian's own signals come in between
print("ready", flush=True)
signal.sigwait({signal.SIGTERM})
os._exit(7)
"""
    child = children.running(KEEPER.format(keeper=program))
    assert child.line() == "ready"
    child.send(signal.SIGTERM)
    assert child.wait() == 7


def test_strays_are_reaped(children: Children) -> None:
    program = """
middle = os.fork()
if middle == 0:
    stray = os.fork()
    if stray:
        os._exit(0)
    time.sleep(0.05)
    os._exit(0)
os.waitpid(middle, 0)
guardian = os.getppid()
end = time.monotonic() + 20
path = f"/proc/{guardian}/task/{guardian}/children"
while len(open(path).read().split()) > 1:
    assert time.monotonic() < end
    time.sleep(0.01)
print("reaped", flush=True)
"""
    child = children.running(KEEPER.format(keeper=program))
    assert child.line() == "reaped"
    assert child.wait() == 0
