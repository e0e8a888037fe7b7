"""Who a process is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from locum.identity import MachineKey, ProcessId, host_name, process_state, sees_own_processes, start_time, stat_fields


def test_this_process_has_its_pid_and_its_start() -> None:
    me = ProcessId.of_this_process()
    assert me.pid == os.getpid()
    assert me.start == start_time(me.pid) == start_time("self") != 0


def test_a_start_lies_between_the_boot_and_now_in_ticks() -> None:
    now = float(Path("/proc/uptime").read_text().split()[0]) * os.sysconf("SC_CLK_TCK")
    assert 0 < ProcessId.of_this_process().start <= now + 1


def test_a_process_whose_name_is_hostile_is_read_all_the_same(tmp_path: Path) -> None:
    program = tmp_path / ") S 1 (2 3)"
    program.symlink_to(sys.executable)
    child = subprocess.Popen(
        [program, "-c", "print('ready', flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONHOME": sys.base_prefix},
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()
        fields = stat_fields(child.pid)
        assert fields is not None
        assert fields[0] in ("S", "R")
        assert int(fields[1]) == os.getpid()
    finally:
        child.kill()
        child.communicate()


def test_a_process_that_is_gone_has_neither_state_nor_start() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert process_state(child.pid) is None
    assert start_time(child.pid) is None
    assert stat_fields("no such") is None


def test_a_zombie_is_seen_as_one() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_state(child.pid) == "Z"
    child.wait()


def test_the_machine_key_is_that_of_all_processes_here() -> None:
    mine = MachineKey.of_this_process()
    program = "from locum.identity import MachineKey; print(MachineKey.of_this_process())"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == str(mine)
    assert mine.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert mine.pid_namespace.startswith("pid:")


def test_this_process_is_seen_in_proc() -> None:
    assert sees_own_processes()


def test_the_machine_has_a_name() -> None:
    assert host_name()
