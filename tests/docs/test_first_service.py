"""The tutorial, walked through as it stands there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.docs.pages import programs
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[2] / "docs/tutorial/first-service.md"


def test_the_tutorial(tmp_path: Path) -> None:
    program, fenced = programs("docs/tutorial/first-service.md")
    (tmp_path / "tower.py").write_text(program)
    with _Tower(tmp_path) as tower:
        tower.start("east")
        until(tower.says("east strikes, token 1"), "the first strike")
        tower.start("west")
        until(lambda: tower.service()["waiting"] == ["west"], "the one that stands by")
        (worker,) = (one["worker"] for one in tower.status()["instances"] if one["name"] == "east")
        os.kill(worker, signal.SIGKILL)
        until(tower.says("west strikes, token 2"), "a strike of the other")
        until(tower.says("its worker is started again"), "the restart")
        killed = "was killed (SIGKILL)"
        until(lambda: killed in tower.run("journal", "--app", "tower:host"), "the journal to say how it ended")
        until(lambda: tower.service()["waiting"] == ["east"], "the one that was killed, in line again")
        assert "is active in strike" in tower.run("resign", "strike", "--app", "tower:host")
        assert "token 4" in tower.run("transfer", "strike", "--to", "west", "--app", "tower:host")

    beginning, ending = program.partition("host = Host")[0], program.partition("if __name__")[2]
    (tmp_path / "tower.py").write_text(f"{beginning}{fenced}\n\nif __name__{ending}")
    with _Tower(tmp_path) as tower:
        tower.start("east")
        tower.start("west")
        until(tower.says("strikes, token 5"), "a strike under the fence")
        until(lambda: len(tower.service()["waiting"]) == 1, "the other one in line")
        (play,) = re.findall(r'^\$ python -c "(.*)"$', PAGE.read_text(), re.MULTILINE)
        subprocess.run([sys.executable, "-c", play], cwd=tmp_path, check=True)
        until(tower.says("refuses token 5: it has seen 100"), "the refusal")
        until(tower.says("strikes, token 101"), "a strike above the fence")


class _Tower:
    """The instances of the tutorial, each with a file for what it says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._outputs: list[Path] = []

    def __enter__(self) -> _Tower:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(30)
            finally:
                process.kill()
                process.wait()

    def start(self, name: str) -> None:
        output = self._folder / f"{name}-{len(self._outputs)}.out"
        with output.open("wb") as file:
            command = [sys.executable, "-m", "locum", "run", "tower:host", "--name", name]
            self._processes.append(subprocess.Popen(command, cwd=self._folder, stdout=file, stderr=subprocess.STDOUT))
        self._outputs.append(output)

    def says(self, words: str) -> Callable[[], bool]:
        return lambda: any(words in output.read_text() for output in self._outputs)

    def run(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "locum", *arguments]
        return subprocess.run(command, cwd=self._folder, check=True, capture_output=True, text=True).stdout

    def status(self) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = json.loads(self.run("status", "--json", "--app", "tower:host"))
        return found

    def service(self) -> dict[str, Any]:
        (service,) = self.status()["services"]
        return service
