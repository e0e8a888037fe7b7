"""What a page shows of a terminal, and whether a real one says the same, up to what varies."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.docs.pages import programs
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

__all__ = ["Shown", "Terminal", "is_shown", "shown"]

_VARIES: Final = (
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    r"\d\d:\d\d:\d\d",
    r"[0-9a-f]{32}",
    r"\d+ ms",
    r"\d+\.\d s",
    r"sqlite:////[\w./-]+/",
    r"/srv/[\w-]+/",
    r" {2,}| ?-{3,} ?",
    r"…",
)
_FORMS: Final = {
    r"sqlite:////[\w./-]+/": r"sqlite:////\S+/",
    r"/srv/[\w-]+/": r"/\S+/",
    r" {2,}| ?-{3,} ?": r"\s+",
    r"…": r".*",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A command of a page, and what it is shown to say.

    Attributes:
        command: As it stands behind the prompt, without a comment.
        says: Its lines.
    """

    command: str
    says: tuple[str, ...]


def shown(page: str, language: str = "console") -> list[Shown]:
    """The commands of a page's terminals; where there is no prompt, each line is a command."""
    found: list[Shown] = []
    for line in "".join(programs(page, language)).splitlines():
        if line.startswith("$ ") or language != "console":
            command = re.sub(r"\s+# .*$", "", line.removeprefix("$ "))
            found.append(Shown(command, ()))
        elif line:
            found[-1] = Shown(found[-1].command, (*found[-1].says, line))
    return [one for one in found if one.command]


def is_shown(line: str, real: str, *varies: str) -> bool:
    """Whether a line of a page is what was really said; times, paths and widths vary, and what is given besides."""
    parts = re.split("(" + "|".join((*_VARIES, *varies)) + ")", line)
    form = "".join(
        next((_FORMS.get(one, one) for one in (*_VARIES, *varies) if re.fullmatch(one, part)), re.escape(part))
        for part in parts
    )
    return re.fullmatch(form, real.rstrip()) is not None


class Terminal:
    """A folder in which commands are given as they stand on a page.

    Args:
        folder: Where.
        variables: Of the environment, besides; none of Locum's is taken over.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        kept = {name: text for name, text in os.environ.items() if not name.startswith(("LOCUM_", "BILLING_"))}
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        self.variables = {**kept, "PATH": path, "COLUMNS": "200", **variables}
        self._begun: list[subprocess.Popen[bytes]] = []
        self._outputs: list[Path] = []

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for output in self._outputs:
            sys.stdout.write(output.read_text())  # shown if the test fails

    def run(self, command: str, *, says: str = "", code: int = 0, variables: Mapping[str, str] | None = None) -> str:
        """Give a command, with an answer for what it asks; all that it says."""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env={**self.variables, **(variables or {})},
            input=says,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=110,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def begin(self, command: str) -> subprocess.Popen[bytes]:
        """Give a command that goes on; it is ended with the block."""
        output = self.folder / f"{len(self._outputs)}.out"
        with output.open("wb") as file:
            process = subprocess.Popen(
                shlex.split(command), cwd=self.folder, env=self.variables, stdout=file, stderr=subprocess.STDOUT
            )
        self._begun.append(process)
        self._outputs.append(output)
        return process

    def stop(self, number: signal.Signals = signal.SIGTERM) -> list[int]:
        """End what goes on, gently; the exit codes."""
        for process in self._begun:
            process.send_signal(number)
        codes = []
        for process in self._begun:
            try:
                codes.append(process.wait(30))
            finally:
                process.kill()
                process.wait()
        self._begun.clear()
        return codes

    def lines(self) -> list[str]:
        """All that was said by what goes on, or went on."""
        return [line for output in self._outputs for line in output.read_text().splitlines()]

    def says(self, words: str) -> Callable[[], bool]:
        """A condition to wait for: somebody has said this."""
        return lambda: any(words in line for line in self.lines())

    def until_shown(self, line: str, *varies: str) -> str:
        """Wait until somebody says what a page shows; the line that was really said."""
        return until(lambda: next((one for one in self.lines() if is_shown(line, one, *varies)), ""), line)

    def until_in_line(self, app: str, service: str, count: int) -> None:
        """Wait until so many stand by."""

        def waiting() -> bool:
            services = json.loads(self.run(f"locum status --json --app {app}"))["services"]
            return any(one["name"] == service and len(one["waiting"]) == count for one in services)

        until(waiting, f"{count} in line")
