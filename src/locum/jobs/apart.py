"""A plain function in a process of its own: the only thing that can be stopped by force, whatever it does.

The process is told what to call, and with what, as JSON; what was returned comes back as JSON. It dies with its parent,
and is killed when whoever waits for it is cancelled.

Usage: python -m locum.jobs.apart, with one line of JSON to read.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from locum.errors import JobProcessError
from locum.keeper.kernel import die_with_parent
from locum.scopes import Scope, finish

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["call_apart"]


async def call_apart(name: str, function: Callable[..., object], given: Mapping[str, Any]) -> Any:
    """Call a function in a process of its own.

    Args:
        name: The job, for messages.
        function: A function of a module.
        given: Its arguments.

    Returns:
        What it returned.

    Raises:
        JobProcessError: It raised something, or its process has ended.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "locum.jobs.apart",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(_path())},
    )
    try:
        answer, _ = await process.communicate(json.dumps(_asked(function, given)).encode() + b"\n")
    finally:
        if process.returncode is None:
            process.kill()
            async with Scope(f"process of {name}") as scope:
                await finish(scope.spawn(process.wait(), name="its end"))
    if not answer:
        raise JobProcessError(name, f"its process has ended with {process.returncode}, and said nothing")
    said = json.loads(answer)
    if "error" in said:
        raise JobProcessError(name, said["error"])
    return said["returned"]


def main() -> None:
    """Read what to call, call it, and write what it returned."""
    asked = json.loads(sys.stdin.readline())
    if not die_with_parent(asked["parent"]):
        return  # it is gone already
    answers = os.dup(1)
    os.dup2(2, 1)  # what the function prints is no answer
    sys.path[:] = asked["path"]
    try:
        function = _found(asked)
        said = json.dumps({"returned": function(**asked["given"])}, allow_nan=False)
    except Exception as error:
        traceback.print_exc()
        said = json.dumps({"error": f"{type(error).__name__}: {error}"})
    with os.fdopen(answers, "w") as pipe:
        pipe.write(said)


def _path() -> list[str]:
    """Where modules are found here; what is relative is so to this process's folder."""
    return [os.path.abspath(one) for one in sys.path]  # noqa: PTH100 - as the import system writes them


def _asked(function: Callable[..., object], given: Mapping[str, Any]) -> dict[str, Any]:
    is_script = function.__module__ == "__main__"
    return {
        "parent": os.getpid(),
        "path": _path(),
        "file": getattr(sys.modules["__main__"], "__file__", None) if is_script else None,
        "module": function.__module__,
        "function": function.__qualname__,
        "given": dict(given),
    }


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
