"""The tutorial on a service with state, walked through as it stands there."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.docs.pages import programs
from tests.docs.terminal import Terminal, is_shown, shown
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/tutorial/service-with-state.md"
ANY = "\N{HORIZONTAL ELLIPSIS}"


def test_the_tutorial_on_state(tmp_path: Path) -> None:
    service, visitors = programs(PAGE)
    (tmp_path / "visits.py").write_text(service)
    (tmp_path / "visit.py").write_text(visitors)
    east, west, visit, kill, transfer, look = shown(PAGE)
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
        until(lambda: "east" in standing_by(terminal, look.command), "east to stand by again")
        (said,) = terminal.run(transfer.command).splitlines()
        assert is_shown(*transfer.says, said), said
        seen = len(numbers(terminal))
        until(lambda: len(numbers(terminal)) > seen + 2, "visitors to go on")
        assert numbers(terminal) == list(range(1, len(numbers(terminal)) + 1)), "one was lost, or counted twice"
        visiting.kill()


SHOP = """
from locum import Host, StatefulService, int64_range

class Baskets(StatefulService):
    partitions = int64_range(2)

host = Host("shop", store="sqlite:///shop.db")
host.add(Baskets)
"""


def test_the_commands_on_partitions(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    look, transfer, resign = shown("docs/how-to/stateful-services.md")
    with Terminal(tmp_path) as terminal:
        for name in ("web-1", "web-2", "web-3"):
            terminal.begin(f"locum run shop:host --name {name}")

        until(terminal.says("is active in baskets/0"), "a primary")

        def led() -> list[tuple[str, list[str]]]:
            found = json.loads(terminal.run(f"{look.command} --json"))["partitions"]
            ready = [[two["instance"] for two in one["secondaries"] if two["is_ready"]] for one in found]
            return list(zip([one["primary"] for one in found], ready, strict=True))

        until(lambda: len(led()) == 2 and all(len(ready) == 2 for _, ready in led()), "all replicas")
        until(lambda: led()[0][0] != led()[1][0], "the primaries to be spread")
        titles = [line.split() for line in look.says if line.startswith("SERVICE")]
        assert titles[0] in [line.split() for line in terminal.run(look.command).splitlines()]
        to = next(name for name in led()[1][1] if name != led()[0][0])
        for one in (transfer, resign):
            (said,) = terminal.run(one.command.replace("web-3", to)).splitlines()
            assert is_shown(without_names(one.says[0]), without_names(said)), said


def without_names(line: str) -> str:
    """Without who, and under which token."""
    return re.sub(r"web-\d|token \d+", "one", line)


def standing_by(terminal: Terminal, command: str) -> list[str]:
    """Who could take the only partition over."""
    (only,) = json.loads(terminal.run(f"{command} --json"))["partitions"]
    return [one["instance"] for one in only["secondaries"] if one["is_ready"]]


def numbers(terminal: Terminal) -> list[int]:
    """What the visitors were told."""
    return [int(line.removeprefix("visitor ")) for line in terminal.lines() if line.startswith("visitor ")]
