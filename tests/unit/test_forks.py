"""What a forked child parts from: locks that would outlive their holder, and the parent's poll set."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from locum.forks import part_from
from tests.unit.kit import open_files

if TYPE_CHECKING:
    from pathlib import Path

# each in a process of its own: this one has threads that a fork would lose

DIES_IN_ITS_TURN = """
import os, signal, sys
from pathlib import Path
from locum.stores.sqlite.files import QueueFile
queue = QueueFile(Path(sys.argv[1]))
with queue.turn():
    if (pid := os.fork()) == 0:
        print(os.getpid(), flush=True)
        signal.pause()
    signal.pause()
"""


def test_a_child_does_not_hold_the_lock_of_a_parent_that_died_in_its_turn(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", DIES_IN_ITS_TURN, str(path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        fd = os.open(path, os.O_RDWR)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            parent.kill()
            parent.wait(20)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(fd)
            os.kill(child, signal.SIGKILL)


LEAVES_THROUGH_THE_LOOP = """
import asyncio, os, sys
from locum.forks import part_at_forks, part_loop

class Has:
    def __init__(self): self.loop = asyncio.get_running_loop(); part_at_forks(self)
    def part(self): part_loop(self.loop)

async def main():
    has, heard = Has(), asyncio.Event()
    read, write = os.pipe()
    has.loop.add_reader(read, heard.set)
    if (pid := os.fork()) == 0:
        has.loop.remove_reader(read)
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    os.write(write, b".")
    await asyncio.wait_for(heard.wait(), 5)
    threading = asyncio.to_thread(lambda: 8)
    assert await asyncio.wait_for(threading, 5) == 8, "what other threads call is not heard any more"

asyncio.run(main())
"""


def test_a_child_that_leaves_through_the_loop_takes_nothing_from_its_parents() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", LEAVES_THROUGH_THE_LOOP], check=True, timeout=60)


def test_a_descriptor_that_was_parted_from_keeps_its_number() -> None:
    before = open_files()
    read, write = os.pipe()
    part_from(write)
    assert os.write(write, b"lost") == 4
    assert os.read(read, 4) == b"", "nobody else has the other end"
    os.close(read)
    os.close(write)
    assert open_files() == before


FORKS_BESIDE_A_CALL = """
import os, threading, time
from locum.forks import quiet_at_forks
lock, inside, go = threading.Lock(), threading.Event(), threading.Event()
quiet_at_forks(lock)
def call():
    with lock:
        inside.set()
        go.wait(HOLDS)
threading.Thread(target=call, daemon=True).start()
inside.wait()
pid = os.fork()
if pid == 0:
    print("free" if lock.acquire(timeout=0) else "held", flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print("free" if lock.acquire(timeout=5) else "held")
"""


@pytest.mark.parametrize(("holds", "child"), [("0.05", "free"), ("3", "held")])
def test_a_fork_waits_for_quiet_but_not_for_long(holds: str, child: str) -> None:
    """The thread that held a library's lock is not in the child; and a call that hangs does not hold up a fork."""
    program = FORKS_BESIDE_A_CALL.replace("HOLDS", holds)
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=20)
    assert said.stdout.split() == [child, "free"], said.stderr


FORKS_AFTER_A_CLOSE = """
import os, sys
from pathlib import Path
from locum.stores.sqlite.files import QueueFile
queue = QueueFile(Path(sys.argv[1]))
number = queue._fd
queue.close()
reader, writer = os.pipe()
assert number == reader, "this test wants the number again"
pid = os.fork()
if pid == 0:
    print(os.read(reader, 20).decode(), flush=True)
    os._exit(0)
os.write(writer, b"still there")
os.waitpid(pid, 0)
"""


def test_a_child_keeps_what_has_the_number_of_a_closed_file(tmp_path: Path) -> None:
    program = [sys.executable, "-W", "ignore", "-c", FORKS_AFTER_A_CLOSE, str(tmp_path / "queue")]
    said = subprocess.run(program, capture_output=True, text=True, timeout=20)
    assert said.stdout.strip() == "still there", said.stderr
