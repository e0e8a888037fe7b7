"""The trials of the kernel: they pass here, and each notices when what it tries does not work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from locum.keeper.selftest import NAMES, run_trials

BREAKS = {
    "a timer that never fires": ("kernel.set_timer = lambda timer, instant: None", {"stopped", "held"}),
    "a timer whose signal a stopped process does not hear": (
        "make = kernel.make_timer; kernel.make_timer = lambda number: make(15)",
        {"stopped", "held"},
    ),
    "a timer that fires early": (
        "set = kernel.set_timer; kernel.set_timer = lambda timer, at: set(timer, at - 30_000_000)",
        {"held"},
    ),
    "a worker that does not ask for its parent's death": ("kernel.die_with_parent = lambda parent: True", {"parent"}),
    "nobody adopts": ("kernel.become_subreaper = lambda: None", {"subreaper"}),
    "a pidfd that fires at once": (
        "import os; os.pidfd_open = lambda pid: os.open('/dev/null', os.O_RDONLY)",
        {"pidfd"},
    ),
    "a pidfd that never fires": ("import os; os.pidfd_open = lambda pid: os.eventfd(0)", {"pidfd"}),
    "no pidfd": ("import os; del os.pidfd_open", {"pidfd"}),
    "no right to make a timer": (
        "import resource; resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0))",
        {"stopped", "held"},
    ),
}


def broken(text: str) -> dict[str, Any]:
    """The trials in a process in which something is broken first."""
    run = "import runpy; runpy.run_module('locum.keeper.selftest', run_name='__main__')"
    program = f"from locum.keeper import kernel\n{text}\n{run}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_here_the_kernel_does_it_all() -> None:
    found = run_trials()
    assert list(found) == list(NAMES)
    assert all(trial.passed and not trial.why for trial in found.values()), found
    for name in ("stopped", "held", "parent", "pidfd"):
        late = found[name].late
        assert late is not None
        assert late >= 0


@pytest.mark.parametrize("name", BREAKS)
def test_what_is_broken_is_noticed(name: str) -> None:
    text, expected = BREAKS[name]
    found = broken(text)
    assert {trial for trial, said in found.items() if not said["passed"]} >= expected, found
    assert all(said["passed"] or said["why"] for said in found.values())
    untouched = {"parent", "pidfd", "subreaper"} - expected
    assert all(found[trial]["passed"] for trial in untouched), found


def test_trials_leave_no_process_behind(tmp_path: Path) -> None:
    marks = f"TRIALS_MARK={tmp_path}"
    environment = {**os.environ, "TRIALS_MARK": str(tmp_path)}
    command = [sys.executable, "-m", "locum.keeper.selftest"]
    subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                assert marks.encode() not in (entry / "environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue


def test_trials_that_cannot_run_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(FileNotFoundError):
        run_trials()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ValueError, match="ended with code 1"):
        run_trials()


def test_trials_that_never_end_are_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sleeper = tmp_path / "python"
    sleeper.write_text("#!/bin/sh\nexec sleep 60\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(sleeper))
    with pytest.raises(TimeoutError, match=r"within 0\.2 s"):
        run_trials(timeout=0.2)
