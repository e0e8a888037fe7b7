"""`locum run`: one instance in the very process, several under a small parent."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from locum import exit_codes
from tests.unit.cli.kit import BILLING, begin, children, end, is_there, locum, until

if TYPE_CHECKING:
    import subprocess

STUBBORN = """
import signal
from pathlib import Path
from locum import Host, Stopping

host = Host("billing", ttl=1.5)

@host.background
async def poll(stopping: Stopping) -> None:
    Path("started-" + host.settings.instance).touch()
    while True:
        try:
            await stopping.sleep(1000)
            Path("told-" + host.settings.instance).touch()
            import time
            time.sleep(1000)
        except BaseException:
            pass
"""
FAILING = """
import os
from pathlib import Path
from locum import Host, Stopping, BackgroundService

class Poll(BackgroundService):
    async def start(self) -> None:
        with Path("starts").open("a") as file:
            file.write(os.environ["LOCUM_INSTANCE"] + "\\n")
        raise ValueError("not today")
    async def run(self, stopping: Stopping) -> None: ...

host = Host("billing", ttl=1.5)
host.add(Poll)
"""

COMPLETING = """
from pathlib import Path
from locum import Host, Stopping

host = Host("billing", ttl=1.5)

@host.background(restart="never", completion="stop_host")
async def poll(stopping: Stopping) -> None:
    with Path("runs").open("a") as file:
        file.write(host.settings.instance + "\\n")
    raise ValueError("not today")
"""


def of_the_crew(crew: subprocess.Popen[str], count: int) -> list[int]:
    """The keepers, once each has a worker."""
    until(lambda: len(children(crew.pid)) == count, f"{count} keepers")
    until(lambda: all(children(one) for one in children(crew.pid)), "their workers")
    return children(crew.pid)


def test_one_instance_keeps_the_pid_and_the_keeper_stays_lean(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(BILLING)
    one = begin(tmp_path, "run", "billing", "--name", "alone", "--ttl", "2.5", "--store", "sqlite:///other.db")
    until((tmp_path / "other.db").exists, "the store")
    assert b"locum.keeper" in Path(f"/proc/{one.pid}/cmdline").read_bytes()
    until(lambda: "settle" in locum(tmp_path, "journal", *where(tmp_path)).out, "a term")
    status = locum(tmp_path, "status", "--json", *where(tmp_path)).out
    (keeper,) = children(one.pid)  # what was started is the guardian above it
    assert f'"keeper": {keeper},' in status
    assert '"ttl": 2.5,' in status
    said = end(one)
    assert said.code == 0
    assert "alone stops." in said.err


def where(folder: Path) -> tuple[str, ...]:
    return ("--store", f"sqlite:///{folder}/other.db", "--namespace", "billing")


def test_a_keeper_that_died_is_started_again_and_the_signal_reaches_all(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(BILLING)
    crew = begin(tmp_path, "run", "billing", "--name", "web", "--instances", "2")
    first, second = of_the_crew(crew, 2)
    workers = children(first)
    os.kill(first, signal.SIGKILL)
    until(lambda: len(children(crew.pid)) == 2 and first not in children(crew.pid), "another keeper")
    until(lambda: not any(map(is_there, workers)), "the death of its worker")
    assert second in children(crew.pid)
    said = end(crew)
    assert said.code == 0
    assert "was killed (SIGKILL); it is started again in" in said.err
    assert not is_there(second)


def test_the_children_die_with_the_parent(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(BILLING)
    crew = begin(tmp_path, "run", "billing", "--instances", "2")
    keepers = of_the_crew(crew, 2)
    workers = [worker for keeper in keepers for worker in children(keeper)]
    crew.kill()
    until(lambda: not any(map(is_there, [*keepers, *workers])), "the death of all")
    crew.communicate(timeout=20)


def test_ctrl_c_comes_once_and_a_third_one_by_force(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(STUBBORN)
    crew = begin(tmp_path, "run", "billing", "--name", "web", "--instances", "2")
    until(lambda: len(list(tmp_path.glob("started-*"))) == 2, "the services")
    keepers = of_the_crew(crew, 2)
    os.killpg(crew.pid, signal.SIGINT)  # as a terminal does: to the whole group
    until(lambda: len(list(tmp_path.glob("told-*"))) == 2, "the word to reach the services")
    assert children(crew.pid) == keepers, "once is not by force"
    os.killpg(crew.pid, signal.SIGINT)
    os.killpg(crew.pid, signal.SIGTERM)  # another one: two of a kind that come at once are one
    crew.communicate(timeout=20)
    assert crew.returncode in map(exit_codes.forced_by, (signal.SIGINT, signal.SIGTERM))
    assert not any(map(is_there, keepers))


def test_what_fails_is_started_again_until_it_is_told_to_stop(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(FAILING)
    crew = begin(tmp_path, "run", "billing", "--name", "web", "--instances", "2")
    starts = tmp_path / "starts"
    until(lambda: starts.exists() and min(map(starts.read_text().split().count, ("web-1", "web-2"))) >= 2, "a restart")
    said = end(crew)
    assert "ended with exit code 1; it is started again in" in said.err


def test_a_host_that_was_declared_to_end_with_a_failure_is_not_started_again(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(COMPLETING)
    crew = begin(tmp_path, "run", "billing", "--name", "web", "--instances", "2")
    until(lambda: crew.poll() is not None, "its end")
    _, said = crew.communicate()
    assert crew.returncode == exit_codes.SERVICE_FAILED
    assert sorted((tmp_path / "runs").read_text().split()) == ["web-1", "web-2"]
    assert "started again" not in said


@pytest.mark.parametrize("instances", ["1", "2"])
def test_what_cannot_be_right_is_not_started_again(tmp_path: Path, instances: str) -> None:
    said = locum(tmp_path, "run", "nothing_here", "--instances", instances)
    assert said.code == exit_codes.BAD_CONFIGURATION
    assert "no module 'nothing_here'" in said.err
