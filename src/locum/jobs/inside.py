"""The process of a body: it is told what to call, calls it, and says what was returned.

It dies with its parent by the kernel's word. If the function asks for its run, that is a `locum.blocking.Run` as in a
thread: an event loop in a thread of its own has the run, whose lease is asked for from the parent, each time anew, and
whose checkpoints the parent keeps. An answer that does not come holds the body up: whoever has the lease does not run.

Usage: python -m locum.jobs.inside, with a frame to read.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import os
import sys
import threading
import traceback
from io import FileIO
from typing import TYPE_CHECKING, Any, Final

from locum import exit_codes
from locum.jobs.frames import error_of, frame, read, words_of
from locum.keeper.kernel import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future

    from locum.jobs.run import Run

__all__ = ["main"]

_OFTEN: Final = 0.1  # seconds from one look at what the body has said to the next


def main() -> None:
    """Be told what to call, call it, and say what it returned."""
    told, says = FileIO(os.dup(0)), FileIO(os.dup(1), "w")
    asked = read(told)
    if asked is None or not die_with_parent(asked["parent"]):
        return  # it is gone already
    os.dup2(2, 1)  # what the function prints is no answer
    with open(os.devnull) as nothing:  # noqa: PTH123 - a descriptor is what is wanted
        os.dup2(nothing.fileno(), 0)
    sys.path[:] = asked["path"]
    link = Link(told, says)
    try:
        with _run_of(asked["run"], link) as run:
            given = asked["given"] if run is None else {**asked["given"], asked["run"]["name"]: run}
            answer = frame({"say": "ended", "returned": _called(_found(asked), given)})
    except (Exception, asyncio.CancelledError) as error:
        traceback.print_exc()
        answer = frame({"say": "ended", **words_of(error)})
    link.write(answer)


def _called(function: Callable[..., object], given: Mapping[str, Any]) -> object:
    """What it returns; a forked child that comes back from it must not go on as a second copy."""
    pid = os.getpid()
    try:
        return function(**given)
    finally:
        if os.getpid() != pid:
            os._exit(exit_codes.CLEAN)


class Link:
    """The pipes to the parent: questions and their answers, and what it says by itself.

    Args:
        told: Where it is heard.
        says: Where it is told.
    """

    def __init__(self, told: FileIO, says: FileIO) -> None:
        self._told, self._says = told, says
        self._writing = threading.Lock()
        self._asked: dict[int, Future[dict[str, Any]]] = {}
        self._number = 0

    def write(self, said: bytes) -> None:
        """Say something, as a whole, whichever thread does."""
        with self._writing:
            while said:
                said = said[self._says.write(said) :]

    def ask(self, what: str, **more: Any) -> Future[dict[str, Any]]:
        """Ask something; the answer is a future's, for a thread to wait for, or a loop."""
        from concurrent.futures import Future

        answer: Future[dict[str, Any]] = Future()
        with self._writing:
            self._number += 1
            number = self._number
            self._asked[number] = answer
        self.write(frame({"say": what, "number": number, **more}))
        return answer

    def listen(self, on_stop: Callable[[float], object]) -> None:
        """Hear what the parent says, in a thread of its own, until it says nothing any more."""

        def hear() -> None:
            while (said := read(self._told)) is not None:
                if said["say"] == "stop":
                    on_stop(said["within"])
                else:
                    self._asked.pop(said["number"]).set_result(said)
            os._exit(exit_codes.SERVICE_FAILED)  # the parent is gone: nothing that is done here counts any more

        threading.Thread(target=hear, name="parent", daemon=True).start()


@contextlib.contextmanager
def _run_of(said: Mapping[str, Any] | None, link: Link) -> Iterator[Any]:
    """The run as a plain body sees it; `None` if the function does not ask for it."""
    if said is None:
        yield None
        return
    from locum import blocking
    from locum.scopes import run_in
    from locum.threads import loop_in_a_thread

    with loop_in_a_thread("run") as loop:
        run = run_in(loop, _made(said, link))
        link.listen(lambda within: run.ask_to_stop(within=within))
        tell = _Telling(run, link)
        run_in(loop, tell.begin())
        try:
            yield blocking.Run(run)
        finally:
            run_in(loop, tell.end())


async def _made(said: Mapping[str, Any], link: Link) -> Run:
    """The run, in the loop where it lives."""
    from locum.clock import Clock
    from locum.jobs.run import Run
    from locum.jobs.steps import LiveRun
    from locum.keeper.budget import Budget
    from locum.keeper.cell import Cell
    from locum.keeper.lease import Lease

    class FarLease(Lease):
        """The parent's, which is asked each time; nothing is current before it has answered."""

        @property
        def is_current(self) -> bool:
            self._take(link.ask("lease").result())
            return super().is_current

        def _take(self, now: Mapping[str, Any]) -> None:
            if now["over"] is not None:
                self.lose(now["over"])
            else:
                cell.advance(now["cancel_at"], 0)

    async def keep(_: Run, text: str) -> bool:
        answer = await asyncio.wrap_future(link.ask("keep", text=text))
        if "error" in answer:
            raise error_of(answer) or RuntimeError(answer["error"])
        return True

    async def results(_: Run) -> list[str | None]:
        raise RuntimeError("what slices have returned is for on_complete=, which is an async def")

    clock, cell = Clock(), Cell()
    cell.begin(1, said["cancel_at"], said["cancel_at"])
    run = Run(
        LiveRun(**said["claimed"]),
        said["kept"],
        namespace=said["namespace"],
        instance=said["instance"],
        lease=FarLease(said["session"], 1, Budget(**said["budget"]), cell, clock),
        clock=clock,
        keep=keep,
        results=results,
    )
    run.take_over(said["raised"])
    return run


class _Telling:
    """Tells the parent that the body goes on, and how far it is: now and then, however often the body says it."""

    def __init__(self, run: Run, link: Link) -> None:
        from locum.scopes import Scope

        self._run, self._link, self._scope = run, link, Scope("telling")

    async def begin(self) -> None:
        """Begin."""
        self._scope.spawn(self._tell(), name="how far it is")

    async def end(self) -> None:
        """Say the last, and end."""
        await self._scope.close()
        self._say()

    async def _tell(self) -> None:
        from locum.clock import Clock

        clock, last = Clock(), (self._run.beaten_at, self._run.pace.progress)
        while True:
            await clock.sleep(_OFTEN)
            now = (self._run.beaten_at, self._run.pace.progress)
            if now != last:
                self._say()
                last = now

    def _say(self) -> None:
        progress = self._run.pace.progress
        self._link.write(frame({"say": "goes on", "progress": None if progress is None else progress.text}))


def _found(asked: Mapping[str, Any]) -> Callable[..., object]:
    if asked["file"] is None:
        found: Any = importlib.import_module(asked["module"])
    else:  # a script: the same code under another name, so that it does not run as one
        spec = importlib.util.spec_from_file_location("__locum_apart__", asked["file"])
        assert spec is not None  # noqa: S101 - it is a file that Python runs
        assert spec.loader is not None  # noqa: S101
        found = importlib.util.module_from_spec(spec)
        sys.modules["__locum_apart__"] = found
        spec.loader.exec_module(found)
    for part in asked["function"].split("."):
        found = getattr(found, part)
    function: Callable[..., object] = found
    return function


if __name__ == "__main__":
    main()
