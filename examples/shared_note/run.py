"""Fifty callers at once ask three servers to append to the note; one of the servers is killed meanwhile; who is there?

    python run.py                # on a SQLite file in a temporary folder
    python run.py redis://localhost:6379/0

It says what is wrong, and leaves with 1 if one that was acknowledged is missing, there twice, or out of order.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import urllib.request
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from urllib.error import URLError

NOTE = Path(__file__).with_name("note.py")
CALLERS, SERVERS, BEFORE_THE_KILL = 50, 3, 5
PATIENCE = 120.0  # seconds


def ask(port: int, mark: str | None = None) -> str | None:
    """What a server answers; `None` if it does not acknowledge."""
    data = None if mark is None else mark.encode()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", data=data, timeout=PATIENCE) as answer:
            return str(answer.read().decode())
    except (URLError, OSError):
        return None


def judge(note: str, acknowledged: dict[str, str], asked: set[str]) -> list[str]:
    """What is wrong with a note.

    Args:
        note: A token and a mark in each line.
        acknowledged: The marks that servers have acknowledged, with the tokens that they have told.
        asked: All marks that were sent.
    """
    lines = [(int(token), mark) for token, _, mark in (line.partition(" ") for line in note.splitlines())]
    tokens, marks = [token for token, _ in lines], [mark for _, mark in lines]
    there = {mark: str(token) for token, mark in lines}
    wrong = [f"{mark} was acknowledged, and is not there" for mark in acknowledged if mark not in there]
    wrong += [f"{mark} is there {marks.count(mark)} times" for mark in there if marks.count(mark) > 1]
    wrong += [f"{mark} is there, and nobody has sent it" for mark in there if mark not in asked]
    wrong += [
        f"{mark} was acknowledged under token {token}, and stands under {there[mark]}"
        for mark, token in acknowledged.items()
        if there.get(mark, token) != token
    ]
    if tokens != sorted(set(tokens)):
        wrong.append(f"the tokens do not grow: {tokens}")
    return wrong


def begin(url: str) -> dict[int, subprocess.Popen[str]]:
    """The servers, by their ports."""
    line = [sys.executable, str(NOTE), url, "0"]
    begun = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for _ in range(SERVERS)]
    return {int(one.stdout.readline()): one for one in begun if one.stdout is not None}


def call(servers: dict[int, subprocess.Popen[str]]) -> dict[str, str | None]:
    """Send all marks at once, kill the first server after some answers; what became of each mark."""
    ports = list(servers)
    with ThreadPoolExecutor(CALLERS) as pool:
        calls = {pool.submit(ask, ports[number % SERVERS], f"mark-{number}"): number for number in range(CALLERS)}
        for answered, _ in enumerate(as_completed(calls), 1):
            if answered == BEFORE_THE_KILL:
                print(f"{answered} callers have their answer; the server on port {ports[0]} is killed")
                servers[ports[0]].kill()
        return {f"mark-{number}": one.result() for one, number in calls.items()}


def main(url: str) -> int:
    """Do all of it, and tell."""
    servers = begin(url)
    try:
        print(f"{SERVERS} servers share one note; {CALLERS} callers ask at once")
        answers = call(servers)
        note = ask(list(servers)[-1]) or ""
    finally:
        for one in servers.values():
            one.terminate()
        codes = [one.wait(PATIENCE) for one in servers.values()]
    acknowledged = {mark: token for mark, token in answers.items() if token is not None}
    wrong = judge(note, acknowledged, set(answers))
    silent = {mark for number, mark in enumerate(answers) if mark not in acknowledged and number % SERVERS}
    wrong += [f"{mark} was not acknowledged by a server that lived" for mark in sorted(silent)]
    wrong += [f"a server that was asked to stop left with {code}" for code in codes[1:] if code != 0]
    lost = len(answers) - len(acknowledged)
    print(f"{len(acknowledged)} marks were acknowledged; {lost} were not: those whose server was killed")
    print(f"the note has {len(note.splitlines())} marks")
    print("\n".join(wrong) or "every mark that was acknowledged is there once, in the order of the tokens")
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(main(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(main(f"sqlite:///{Path(folder) / 'note.db'}"))
