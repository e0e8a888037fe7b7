"""The tutorial, walked through as it stands there: what it shows is what is said."""

from __future__ import annotations

import platform
import re
import signal
from typing import TYPE_CHECKING

from tests.docs.pages import programs
from tests.docs.terminal import Shown, Terminal, is_shown, shown
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/tutorial/first-service.md"
PID, TOKEN, NAME = r"\b\d{4,}\b", r"\btoken \d+\b", r"\b(?:east|west)\b"


def test_the_tutorial(tmp_path: Path) -> None:
    program, fenced = programs(PAGE)
    by_command = {one.command: one for one in shown(PAGE)}
    killed, refused = (block.splitlines() for block in programs(PAGE, "text"))
    (tmp_path / "tower.py").write_text(program)
    with Terminal(tmp_path) as terminal:
        for name in ("east", "west"):
            one = by_command[f"locum run tower:host --name {name}"]
            terminal.begin(one.command)
            for line in one.says:
                terminal.until_shown(line)
        terminal.until_in_line("tower:host", "strike", 1)
        status = as_on_the_page(terminal, by_command["locum status --app tower:host"])
        (kill,) = (command for command in by_command if command.startswith("kill "))
        (worker,) = re.findall(r"^east .* (\d+) +\S+ s ", status, re.MULTILINE)
        terminal.run(re.sub(r"\d{2,}$", worker, kill))
        for line in killed:
            terminal.until_shown(line)
        as_on_the_page(terminal, by_command["locum journal --app tower:host"])
        terminal.until_in_line("tower:host", "strike", 1)
        assert "is active in strike" in terminal.run("locum resign strike --app tower:host")
        assert "token 4" in terminal.run("locum transfer strike --to west --app tower:host")
        assert terminal.stop(signal.SIGINT) == [0, 0]

        beginning, ending = program.partition("host = Host")[0], program.partition("if __name__")[2]
        (tmp_path / "tower.py").write_text(f"{beginning}{fenced}\n\nif __name__{ending}")
        for name in ("east", "west"):
            terminal.begin(f"locum run tower:host --name {name}")
        until(terminal.says("strikes, token 5"), "a strike under the fence")
        terminal.until_in_line("tower:host", "strike", 1)
        (play,) = (command for command in by_command if command.startswith("python -c"))
        terminal.run(play)
        for line in refused:
            terminal.until_shown(line, TOKEN, NAME)
        until(terminal.says("refuses token 5: it has seen 100"), "the refusal")
        until(terminal.says("strikes, token 101"), "a strike above the fence")


def test_the_version_of_the_tutorial(tmp_path: Path) -> None:
    """How it is installed, tests/docs/test_offline_install.py goes through."""
    *_, version = (one for one in shown(PAGE) if one.command == "locum --version")
    with Terminal(tmp_path) as terminal:
        assert terminal.run(version.command).splitlines() == list(version.says)


def as_on_the_page(terminal: Terminal, one: Shown) -> str:
    """Give a command until all that it says is as the page shows it; what it said."""

    def said() -> str:
        text = terminal.run(one.command)
        lines = [line for line in text.splitlines() if line]
        page = [re.sub(r"\bvm\b", platform.node(), line) for line in one.says]
        same = len(lines) == len(page) and all(is_shown(a, b, PID) for a, b in zip(page, lines, strict=True))
        return text if same else ""

    return until(said, one.command)
