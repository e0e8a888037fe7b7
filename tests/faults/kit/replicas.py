"""Replicas of a partition's state, each a process; and what is judged of what they wrote down."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from locum.scopes import run
from locum.state.database import opened
from locum.state.state import State
from locum.testing.linearizability import UNKNOWN, Call, counter, judge_each
from tests.faults.kit.waiting import LONG

if TYPE_CHECKING:
    from types import TracebackType

    from tests.faults.kit.places import Place

__all__ = ["ReplicaProcess", "Replicas"]

_APP: Final = Path(__file__).parents[1] / "apps" / "replica.py"
_UNDONE: Final = {"NotPrimaryError", "StaleTermError", "StoreUnavailableError", "WaitTimeoutError"}


class ReplicaProcess:
    """One replica.

    Attributes:
        pid: Its process.
    """

    def __init__(self, url: str, file: Path) -> None:
        command = [sys.executable, str(_APP), url, str(file)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        self._answers: SimpleQueue[Any] = SimpleQueue()
        self._hearing = threading.Thread(target=self._hear, daemon=True)
        self._hearing.start()
        assert self.answer() == "open"

    def say(self, command: str, **given: Any) -> None:
        """Tell it to do something, and wait for nothing."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, given]) + "\n")
        self._process.stdin.flush()

    def answer(self, *, within: float = LONG) -> Any:
        """Its next answer."""
        try:
            return self._answers.get(timeout=within)
        except Empty:
            raise AssertionError(f"no answer within {within:g} s") from None

    def do(self, command: str, *, within: float = LONG, **given: Any) -> Any:
        """Have it do something."""
        self.say(command, **given)
        return self.answer(within=within)

    def kill(self) -> None:
        """End it at this moment."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._hearing.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):  # what was said to it, and not heard
                pipe.close()

    def freeze(self) -> None:
        """Stop it where it is."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def _hear(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(json.loads(line))


class Replicas:
    """Replicas of one partition, and what they wrote down.

    Args:
        place: Where the state is kept.
        folder: For their files.
    """

    def __init__(self, place: Place, folder: Path) -> None:
        self.url = place.url
        self._folder = folder
        self._processes: list[ReplicaProcess] = []
        self._files: list[Path] = []
        self._read: list[int] = []
        self._said: list[dict[str, Any]] = []

    def start(self) -> ReplicaProcess:
        """Another one."""
        file = self._folder / f"replica-{len(self._processes)}.jsonl"
        self._processes.append(ReplicaProcess(self.url, file))
        self._files.append(file)
        self._read.append(0)
        return self._processes[-1]

    def said(self) -> list[dict[str, Any]]:
        """What they wrote down so far; only what is new is read."""
        for number, file in enumerate(self._files):
            with file.open("rb") as lines:
                lines.seek(self._read[number])
                new = lines.read()
            new = new[: new.rfind(b"\n") + 1]
            self._read[number] += len(new)
            self._said += [json.loads(line) for line in new.splitlines()]
        return self._said

    def written(self) -> list[dict[str, Any]]:
        """What they wrote down of transactions that were to write."""
        return [line for line in self.said() if "name" in line]

    def unanswered(self) -> dict[str, str]:
        """Which transactions were begun, and on which key, and have not ended as far as anybody knows."""
        begun = {line["begun"]: line["key"] for line in self.said() if "begun" in line}
        for line in self.written():
            begun.pop(line["name"], None)
        return begun

    def judge_history(self) -> None:
        """See that what was counted and read can have come one after the other; for those that nobody has killed."""
        known = {line["name"]: line["settled"] for line in self.said() if "settled" in line}
        history: dict[str, list[Call]] = {}
        for line in self.said():
            if "read" in line:
                call = Call(line["asked"], line["answered"], ("read",), line["count"])
                history.setdefault(line["read"], []).append(call)
            elif line.get("outcome") == "ok":
                call = Call(line["asked"], line["answered"], ("add", 1), line["count"])
                history.setdefault(line["key"], []).append(call)
            elif line.get("outcome") == "OutcomeUnknownError" and known.get(line["name"], True):
                history.setdefault(line["key"], []).append(Call(line["asked"], math.inf, ("add", 1), UNKNOWN))
        strange = judge_each(history, counter)
        assert not strange, f"no order explains what was seen of {sorted(strange)}"

    def judge(self) -> Counter[str]:
        """See that what was told is true: what was acknowledged is there, once; what was refused is not.

        Returns:
            How many transactions ended how.
        """
        counts, notes, records = run(self._held())
        assert sum(counts.values()) == len(notes), "counts and notes are written together"
        assert counts == dict(Counter(notes.values())), "nothing is counted twice"
        tokens = [token for _, token in records]
        assert tokens == sorted(tokens), "after a term's first record there is none of an older term"
        told: Counter[str] = Counter()
        for line in self.written():
            name, outcome = line["name"], line.get("outcome", line.get("settled"))
            told[str(outcome)] += 1
            if outcome in ("ok", True):
                assert name in notes, f"{name} was acknowledged and is lost"
            elif outcome in _UNDONE or outcome is False:
                assert name not in notes, f"{name} was said not to be done, {outcome}, and was"
        return told

    async def _held(self) -> tuple[dict[str, int], dict[str, str], list[tuple[int, int]]]:
        async with (
            opened(self.url, namespace="faults", timeout=LONG) as database,
            State(database, "counter", "0") as state,
        ):
            records = await database.rows.ask(
                lambda db: database.rows.ledger.tail(db, {state._partition.number: 0}, 100_000)
            )
            counts, notes = (dict(state.dictionary(name).items()) for name in ("counts", "notes"))
            return counts, notes, [(record.position, record.token) for _, record in records]

    def __enter__(self) -> Replicas:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
