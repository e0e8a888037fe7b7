"""A plain function in a process of its own: the only thing that can be stopped by force, whatever it does.

The process is told what to call, and with what, as JSON; what was returned comes back as JSON (`frames`). It leads a
process group, which is killed as a whole when the process has ended, or when whoever waits for it is cancelled; and the
kernel kills it with its parent (`inside`). It stays in its parent's session, by which a keeper finds what a worker has
left.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from locum.errors import JobProcessError, LocumError
from locum.identity import ProcessId, start_time
from locum.jobs.frames import HEAD, error_of, frame, length_of, words_of
from locum.jobs.progress import Progress
from locum.jobs.signature import asks_for_run
from locum.keeper.processes import end_group, kill_group
from locum.scopes import Scope, finish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from locum.jobs.run import Run

__all__ = ["call_apart"]

_TRIES: Final = 3


async def call_apart(function: Callable[..., object], run: Run) -> Any:
    """Call a function in a process of its own, with the run's params, and with the run if it asks for it.

    Returns:
        What it returned.

    Raises:
        JobProcessError: It raised something, or its process has ended.
        TermEndedError: It raised that, for the run is not ours any more; `StaleTermError` and `StaleRunError` likewise.
    """
    asked = frame(_asked(function, run))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "locum.jobs.inside",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(_path())},
        process_group=0,  # a Ctrl-C at the terminal is its instance's to judge
    )
    leader = ProcessId(process.pid, start_time(process.pid) or 0)
    try:
        async with Scope(f"process of {run.name}") as scope:
            scope.spawn(_clear(process, leader), name="what it leaves")
            said = await _Talk(process, run, scope).until_ended(asked)
            await process.wait()
    finally:
        await _end(process, leader, run.name)
    if said is None:
        raise JobProcessError(run.name, f"its process has ended with {process.returncode}, and said nothing")
    if "error" in said:
        raise error_of(said) or JobProcessError(run.name, said["error"])
    return said["returned"]


class _Talk:
    """What is said to the process, and answered.

    Args:
        process: The process.
        run: What it executes.
        scope: Owns what waits meanwhile.
    """

    def __init__(self, process: asyncio.subprocess.Process, run: Run, scope: Scope) -> None:
        assert process.stdin is not None  # noqa: S101 - it was asked for
        assert process.stdout is not None  # noqa: S101
        self._to, self._from, self._run, self._scope = process.stdin, process.stdout, run, scope

    async def until_ended(self, asked: bytes) -> dict[str, Any] | None:
        """Ask, and answer what it asks; what it says at last, if anything."""
        self._send(asked)
        self._scope.spawn(self._tell_of_stop(), name="a stop is told")
        while (said := await self._read()) is not None:
            match said.pop("say"):
                case "ended":
                    return said
                case "goes on":
                    self._run.beat()
                    self._run.pace.progress = Progress.read(said["progress"])
                case "lease":
                    self._answer(said["number"], _lease_of(self._run))
                case "keep":
                    self._scope.spawn(self._keep(said["number"], said["text"]), name="checkpoint")
        return None

    async def _keep(self, number: int, text: str) -> None:
        try:
            await self._run.keep(text)
        except LocumError as error:
            self._answer(number, words_of(error))
        else:
            self._answer(number, {})

    async def _tell_of_stop(self) -> None:
        await self._run.asked()
        self._send(frame({"say": "stop", "within": self._run.deadline or 0.0}))

    def _answer(self, number: int, what: Mapping[str, Any]) -> None:
        self._send(frame({"say": "answer", "number": number, **what}))

    def _send(self, said: bytes) -> None:
        if not self._to.is_closing():
            self._to.write(said)

    async def _read(self) -> dict[str, Any] | None:
        try:
            length = length_of(await self._from.readexactly(HEAD))
            found: dict[str, Any] = json.loads(await self._from.readexactly(length))
        except asyncio.IncompleteReadError:
            return None  # it has ended, wherever it stood
        return found


async def _clear(process: asyncio.subprocess.Process, leader: ProcessId) -> None:
    """Once it has ended, end what it has left, which may have its end of the pipe, too."""
    await process.wait()
    _end_rest(leader)


async def _end(process: asyncio.subprocess.Process, leader: ProcessId, name: str) -> None:
    """Kill what there is of its group, and wait until it is gone; also if whoever waits is cancelled."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        if process.returncode is None:
            kill_group(process.pid)
            async with Scope(f"end of the process of {name}") as scope:
                await finish(scope.spawn(process.wait(), name="its end"))
    finally:
        _end_rest(leader)


def _end_rest(leader: ProcessId) -> None:
    """End a group without its leader: its number may be another's by now, so its members are looked at one by one."""
    for _ in range(_TRIES):
        if end_group(leader):
            return


def _path() -> list[str]:
    """Where modules are found here; what is relative is so to this process's folder."""
    return [os.path.abspath(one) for one in sys.path]  # noqa: PTH100 - as the import system writes them


def _lease_of(run: Run) -> dict[str, Any]:
    return {"over": run.ended, "cancel_at": run.lease.cancel_at}


def _asked(function: Callable[..., object], run: Run) -> dict[str, Any]:
    is_script = function.__module__ == "__main__"
    name = asks_for_run(function)
    asked: dict[str, Any] = {
        "parent": os.getpid(),
        "path": _path(),
        "file": getattr(sys.modules["__main__"], "__file__", None) if is_script else None,
        "module": function.__module__,
        "function": function.__qualname__,
        "given": _given(function, run.params, but=name),
        "run": None,
    }
    if name is not None:
        asked["run"] = {
            "name": name,
            "claimed": asdict(run.claimed),
            "kept": run.kept,
            "namespace": run.namespace,
            "instance": run.instance,
            "session": run.lease.session,
            "budget": asdict(run.lease.budget),
            "raised": sorted(run.raised),
            **_lease_of(run),
        }
    return asked


def _given(function: Callable[..., object], params: Mapping[str, Any], *, but: str | None) -> dict[str, Any]:
    """Of the params, those that it asks for, where it is one that takes the run, which has them all."""
    found = inspect.signature(function).parameters
    if but is None or any(one.kind is one.VAR_KEYWORD for one in found.values()):
        return dict(params)
    return {name: value for name, value in params.items() if name in found and name != but}
