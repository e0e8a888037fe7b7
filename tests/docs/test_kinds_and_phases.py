"""The programs of the pages on kinds of services, and on starting and stopping, run as they stand there."""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

from tests.docs.pages import programs
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


def run(folder: Path, program: str, *words: str) -> str:
    """Run a program until it has said all of these words, stop it; what it has said."""
    (folder / "shop.py").write_text(program)
    output = folder / "out"
    with output.open("wb") as file:
        process = subprocess.Popen([sys.executable, "shop.py"], cwd=folder, stdout=file, stderr=subprocess.STDOUT)
    try:
        for some in words:
            until(partial(_says, output, some), some)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0, output.read_text()
    finally:
        process.kill()
        process.wait()
        sys.stdout.write(output.read_text())  # shown if this fails
    return output.read_text()


def test_the_kinds_of_the_page(tmp_path: Path) -> None:
    main, classes = programs("docs/how-to/kinds-of-services.md")
    run(tmp_path, main, "settled under 1", "acked order 2", "mail to who sent order 2")
    added = f"{classes}\n\nhost.add(Refresh)\nhost.add(Orders, active_passive=True, name='more')\n"
    everything = main.replace("if __name__", f"{added}\n\nif __name__")
    run(tmp_path, everything, "active in more", "acked order 2")


def test_the_phases_of_the_page(tmp_path: Path) -> None:
    (program,) = programs("docs/how-to/start-and-stop.md")
    said = run(tmp_path, program, "server runs", "runs database, server")
    order = ["database starts", "server runs", "still serving", "server ends by itself", "database closed"]
    assert sorted(order, key=said.index) == order


def _says(output: Path, words: str) -> bool:
    return words in output.read_text()
