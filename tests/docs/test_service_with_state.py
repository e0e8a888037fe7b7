"""The tutorial on a service with state, walked through as it stands there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.docs.pages import programs
from tests.docs.terminal import Terminal, shown
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/tutorial/service-with-state.md"
ANY = "\N{HORIZONTAL ELLIPSIS}"


def test_the_tutorial_on_state(tmp_path: Path) -> None:
    service, visitors = programs(PAGE)
    (tmp_path / "visits.py").write_text(service)
    (tmp_path / "visit.py").write_text(visitors)
    east, west, visit, kill = shown(PAGE)
    (after,) = programs(PAGE, "text")
    with Terminal(tmp_path) as terminal:
        terminal.begin(east.command)
        counts = [terminal.until_shown(line.replace("4711", ANY)) for line in east.says]
        (pid,) = re.findall(r"in process (\d+)", "\n".join(counts))
        terminal.begin(west.command)
        until(lambda: terminal.lines().count("is secondary now") == 2, "the other one to stand by")
        visiting = terminal.begin(visit.command)
        for line in visit.says:
            terminal.until_shown(line)
        terminal.run(kill.command.replace("4711", pid))
        terminal.until_shown(after.strip().replace("4712", ANY))
        seen = len(numbers(terminal))
        until(lambda: len(numbers(terminal)) > seen + 2, "visitors to go on")
        assert numbers(terminal) == list(range(1, len(numbers(terminal)) + 1)), "one was lost, or counted twice"
        visiting.kill()


def numbers(terminal: Terminal) -> list[int]:
    """What the visitors were told."""
    return [int(line.removeprefix("visitor ")) for line in terminal.lines() if line.startswith("visitor ")]
