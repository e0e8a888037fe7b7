"""The tutorial on jobs, walked through as it stands there."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
from typing import TYPE_CHECKING

from tests.docs.pages import programs
from tests.docs.terminal import Shown, Terminal, is_shown, shown
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/tutorial/scheduled-jobs.md"
NUMBER, NAME, STATE = r"\b\d+\b", r"\b(?:east|west)\b", r"[█░]{12} \d+/\d+, \S+, \S+ \w+ left"


def test_the_tutorial_on_jobs(tmp_path: Path) -> None:
    (program,) = programs(PAGE)
    by_command = {one.command: one for one in shown(PAGE)}
    (rings,) = programs(PAGE, "text")
    (tmp_path / "chimes.py").write_text(program.replace("sleep(0.2)", "sleep(0.1)"))
    with Terminal(tmp_path) as terminal:
        for name in ("east", "west"):
            terminal.begin(f"locum run chimes:host --name {name}")
            until(terminal.says(f"{name} of chimes"), name)
        for line in rings.splitlines():
            terminal.until_shown(line, NUMBER, NAME)
        for command in ("locum jobs list", "locum jobs history ring --limit 2"):
            as_on_the_page(terminal, by_command[f"{command} --app chimes:host"])
        assert terminal.run("locum jobs run tune --app chimes:host").strip()
        until(terminal.says("east tunes bell"), "east to tune")
        as_on_the_page(terminal, by_command["locum status --app chimes:host"])
        status = json.loads(terminal.run("locum status --json --app chimes:host"))
        assert [one["job"] for one in status["jobs"]["under_way"] if one["state"] == "cut"] == ["tune"]
        (east,) = (one for one in status["instances"] if one["name"] == "east")
        os.kill(east["worker"], signal.SIGKILL)
        as_on_the_page(terminal, by_command["locum jobs history tune --app chimes:host"])
        tuned = [line for line in terminal.lines() if "tunes bell" in line]
        again = [line for line in tuned if "attempt 2" in line]
        assert 1 <= len(again) <= 2, tuned
        assert len(tuned) == 40 + len(again)
        assert terminal.stop(signal.SIGINT) == [0, 0]
        rung = re.findall(r"rings for (\S+),", "\n".join(terminal.lines()))
        assert len(rung) == len(set(rung)), "a bell was rung twice for one time"


def as_on_the_page(terminal: Terminal, one: Shown) -> str:
    """Give a command until it says what the page shows, up to what varies; what it said."""

    def said() -> str:
        text = terminal.run(one.command)
        lines = [line for line in text.splitlines() if line and not line.startswith("Runs of jobs: ")]
        page = [re.sub(r"\bvm\b", platform.node(), line) for line in one.says]
        same = len(lines) == len(page) and all(
            is_shown(told, real, NUMBER, NAME, STATE) for told, real in zip(page, lines, strict=True)
        )
        return text if same else ""

    return until(said, one.command)
