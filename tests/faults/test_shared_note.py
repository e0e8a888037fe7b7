"""The shared note: 50 callers at once, one of three servers killed, and no acknowledged mark is lost."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError

import pytest

from tests.faults.kit.waiting import LONG, until

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "examples" / "shared_note" / "note.py"
CALLERS = 50


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[int, subprocess.Popen[str]]]:
    line = [sys.executable, str(EXAMPLE), f"sqlite:///{tmp_path}/note.db", "0"]
    begun = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    yield {int(one.stdout.readline()): one for one in begun if one.stdout is not None}
    for one in begun:
        one.kill()
        one.communicate()


def ask(port: int, mark: str | None = None) -> str | None:
    """What a server answers; `None` if it does not acknowledge."""
    data = None if mark is None else mark.encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=data, timeout=4 * LONG) as answer:
            return str(answer.read().decode())
    except (URLError, OSError):
        return None


def test_every_acknowledged_mark_is_there_once_in_the_order_of_tokens(
    servers: dict[int, subprocess.Popen[str]],
) -> None:
    ports = list(servers)
    with ThreadPoolExecutor(CALLERS) as pool:
        calls = {f"mark-{number}": pool.submit(ask, ports[number % 3], f"mark-{number}") for number in range(CALLERS)}
        until(lambda: sum(call.done() for call in calls.values()) >= 5, "the first marks")
        servers[ports[0]].kill()
        acknowledged = {mark: token for mark, call in calls.items() if (token := call.result()) is not None}
    lines = [line.split() for line in (ask(ports[1]) or "").splitlines()]
    tokens, marks = [int(token) for token, _ in lines], [mark for _, mark in lines]
    assert tokens == sorted(set(tokens))
    assert len(set(marks)) == len(marks)
    assert {mark: token for token, mark in lines if mark in acknowledged} == acknowledged
    theirs = {f"mark-{number}" for number in range(CALLERS) if number % 3}
    assert theirs <= acknowledged.keys(), "whoever asked a server that lived has its mark"
