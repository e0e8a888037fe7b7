"""Ending what a worker left behind, with real processes (R9, R10)."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from locum.identity import ProcessId, process_state, start_time, stat_fields
from locum.keeper.processes import end_group, group_members
from tests.unit.kit import until

if TYPE_CHECKING:
    from tests.unit.keeper.children import Children

WITH_CHILD = """
import os, signal
child = os.fork()
if child == 0:
    {setup}
    signal.pause()
print(child, flush=True)
signal.pause()
"""

# a child of the test plays the keeper: it adopts, kills and reaps as one
SUBREAPER = """
import os, signal, sys, time
from locum.keeper import kernel
from locum.keeper.processes import kill_children, reap
if sys.argv[1] == "adopts":
    kernel.become_subreaper()
ready, say = os.pipe()
worker = os.fork()
if worker == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()  # out of the group and the session: only adoption finds it
        os.write(say, b"%d" % os.getpid())
        signal.pause()
    os._exit(7)
grandchild = int(os.read(ready, 20))
_, status = os.waitpid(worker, 0)
end = time.monotonic() + 20
found = {worker: status}
while True:
    kill_children()
    ended = reap()
    if ended is None:
        break
    found.update(ended)
    assert time.monotonic() < end
    time.sleep(0.001)
print(os.waitstatus_to_exitcode(found[worker]), found.get(grandchild, -1), grandchild, flush=True)
signal.pause()
"""


def test_the_members_of_a_group_are_its_leader_and_what_it_forked(children: Children) -> None:
    worker = children.running(WITH_CHILD.format(setup="pass"))
    forked = children.stray(int(worker.line()))
    assert sorted(one.pid for one in group_members(worker.identity)) == sorted([worker.pid, forked.pid])


async def test_a_group_of_its_own_in_the_same_session_is_found(children: Children) -> None:
    worker = children.running(WITH_CHILD.format(setup="os.setpgid(0, 0)"))
    forked = children.stray(int(worker.line()))
    await until(lambda: (stat_fields(forked.pid) or "000")[2] == str(forked.pid), "the new group")
    assert forked in group_members(worker.identity)


def test_what_outlives_its_leader_is_found_and_ended(children: Children) -> None:
    worker = children.running(WITH_CHILD.format(setup="pass"))
    forked = children.stray(int(worker.line()))
    leader = worker.identity
    worker.die()
    assert group_members(leader) == [forked]
    assert not end_group(leader), "it was there when it was asked"


async def test_ending_a_group_is_repeated_until_none_is_left(children: Children) -> None:
    worker = children.running(WITH_CHILD.format(setup="signal.signal(signal.SIGTERM, signal.SIG_IGN)"))
    forked = children.stray(int(worker.line()))
    leader = worker.identity
    worker.die()
    await until(lambda: end_group(leader), "an empty group")
    assert process_state(forked.pid) in ("Z", None)


async def test_a_zombie_is_no_member(children: Children) -> None:
    worker = children.sleeper()
    leader = worker.identity
    worker.kill()
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - it was killed
    assert process_state(worker.pid) == "Z"
    assert group_members(leader) == []
    await until(lambda: end_group(leader), "a look that can have missed nobody")


def test_a_number_that_passed_on_to_a_stranger_has_no_members(children: Children) -> None:
    stranger = children.sleeper()
    identity = stranger.identity
    assert group_members(identity) == [identity]
    earlier = ProcessId(identity.pid, identity.start - 1)
    assert group_members(earlier) == []
    assert end_group(earlier)
    assert process_state(stranger.pid) in ("S", "R", "D")


def test_what_started_before_the_leader_belongs_to_an_earlier_group(children: Children) -> None:
    earlier = children.running(WITH_CHILD.format(setup="pass"))
    left = children.stray(int(earlier.line()))
    leader = earlier.identity
    earlier.die()
    assert group_members(ProcessId(leader.pid, leader.start)) == [left]
    assert group_members(ProcessId(leader.pid, left.start + 1)) == []


@pytest.mark.parametrize("adopts", [True, False])
def test_a_subreaper_ends_and_reaps_what_left_the_group(children: Children, adopts: bool) -> None:
    keeper = children.running(SUBREAPER, "adopts" if adopts else "alone")
    worker, grandchild, pid = keeper.line().rsplit(" ", 2)
    if start_time(int(pid)) is not None:
        children.stray(int(pid))
    assert worker == "7"
    if adopts:
        assert os.waitstatus_to_exitcode(int(grandchild)) == -signal.SIGKILL
    else:
        assert grandchild == "-1"


def test_reaping_leaves_one_child_to_somebody_else(children: Children) -> None:
    program = """
import os
from locum.keeper.processes import reap
child = os.fork()
if child == 0:
    os._exit(3)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
print(reap(keep=child), reap(keep=None) == {child: 3 << 8}, reap(), flush=True)
"""
    assert children.running(program).line() == "{} True None"
