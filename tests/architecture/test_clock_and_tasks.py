"""One module reads time and one makes tasks; so both can be seen through, and replaced, in one place."""

from collections.abc import Callable, Iterator

import pytest

from tests.architecture.conftest import Plant, clean
from tests.architecture.tree import Module, Reference, Tree

CLOCK = "locum.clock"
SCOPES = "locum.scopes"

COUNTERS = ("time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime")
CLOCK_READS = (
    {f"time.{name}{suffix}" for name in COUNTERS for suffix in ("", "_ns")}
    | {f"time.{name}" for name in ("localtime", "gmtime", "ctime", "asctime", "strftime", "*")}
    | {f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")}
    | {"datetime.date.today"}
)
TASK_MAKERS = {"create_task", "ensure_future", "gather", "as_completed", "shield", "run_coroutine_threadsafe", "*"}
TASK_CLASSES = {"Task", "TaskGroup"}  # fine in an annotation


def clock_reads(tree: Tree) -> list[str]:
    return _found(tree, CLOCK, _reads_clock, "reads a clock")


def tasks_made(tree: Tree) -> list[str]:
    return _found(tree, SCOPES, _makes_task, "makes a task")


def _found(tree: Tree, home: str, is_it: Callable[[Reference], bool], what: str) -> list[str]:
    return [
        f"{module.at(reference.line)}: {reference.name} {what}; that is for {home} alone"
        for module in tree
        if module.name != home
        for reference in _touched(module)
        if is_it(reference)
    ]


def _touched(module: Module) -> Iterator[Reference]:
    for imported in module.imports:
        if imported.name is not None:
            yield Reference(f"{imported.target}.{imported.name}", imported.line, is_called=False)
    yield from module.references


def _reads_clock(reference: Reference) -> bool:
    owner, _, name = reference.name.rpartition(".")
    if name in {"clock_gettime", "clock_gettime_ns"}:
        return True  # also through ctypes
    return reference.name in CLOCK_READS or (name == "time" and _is_loop(owner))


def _makes_task(reference: Reference) -> bool:
    owner, _, name = reference.name.rpartition(".")
    if owner == "asyncio" or owner.startswith("asyncio."):
        return name in TASK_MAKERS or (name in TASK_CLASSES and reference.is_called)
    return name == "create_task" and bool(owner) and owner != SCOPES  # a loop's or a group's


def _is_loop(owner: str) -> bool:
    return "loop" in owner.rpartition(".")[2].lower()  # loop, self._loop, asyncio.get_running_loop()


def test_only_the_clock_reads_time(house: Tree) -> None:
    clean(clock_reads(house))


def test_only_scopes_makes_tasks(house: Tree) -> None:
    clean(tasks_made(house))


@pytest.mark.parametrize(
    "text",
    [
        "import time\nnow = time.time()",
        "import time\nnow = time.monotonic_ns()",
        "import time as t\nread = t.perf_counter",
        "import time\nnow = time.clock_gettime(time.CLOCK_BOOTTIME)",
        "from time import monotonic",
        "from time import *",
        "def f() -> None:\n    from time import time_ns as instant",
        "import datetime\nnow = datetime.datetime.now(datetime.UTC)",
        "from datetime import datetime as dt\nnow = dt.utcnow()",
        "from datetime import date\ntoday = date.today()",
        "import asyncio\nnow = asyncio.get_running_loop().time()",
        "class C:\n    def f(self) -> float:\n        return self._loop.time()",
        "import ctypes\nctypes.CDLL(None).clock_gettime(7, None)",
    ],
)
def test_a_clock_read_is_noticed(plant: Plant, text: str) -> None:
    assert clock_reads(plant({"keeper/session.py": text}))
    assert clock_reads(plant({"keeper/session.py": "", "clock.py": text})) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time\ntime.sleep(1)",
        "from locum import clock\nnow = clock.now()",
        "from datetime import timedelta\nday = timedelta(days=1)",
        "def f(time: float, row: object) -> float:\n    return row.time() + time",
    ],
)
def test_what_only_looks_like_a_clock_is_let_through(plant: Plant, text: str) -> None:
    assert clock_reads(plant({"clock.py": "", "keeper/session.py": text})) == []


@pytest.mark.parametrize(
    "text",
    [
        "import asyncio\nasyncio.create_task(f())",
        "import asyncio\nmake = asyncio.create_task",
        "import asyncio as aio\naio.ensure_future(f())",
        "from asyncio import gather",
        "from asyncio.tasks import create_task as spawn",
        "import asyncio\nasync def f() -> None:\n    async with asyncio.TaskGroup() as group: pass",
        "from asyncio import TaskGroup as Group\ngroup = Group()",
        "import asyncio\nasyncio.Task(f())",
        "import asyncio\nasyncio.get_running_loop().create_task(f())",
        "class C:\n    def f(self) -> None:\n        self.loop.create_task(g())",
        "import asyncio\nasyncio.run_coroutine_threadsafe(f(), loop)",
    ],
)
def test_a_task_made_is_noticed(plant: Plant, text: str) -> None:
    assert tasks_made(plant({"host/host.py": text}))
    assert tasks_made(plant({"host/host.py": "", "scopes.py": text})) == []


@pytest.mark.parametrize(
    "text",
    [
        "import asyncio\nasync def f() -> None:\n    await asyncio.wait_for(g(), 1)",
        "import asyncio\ntask: asyncio.Task[None] | None = None",
        "import asyncio\nasyncio.run(main())",
    ],
)
def test_what_makes_no_task_of_its_own_is_let_through(plant: Plant, text: str) -> None:
    assert tasks_made(plant({"host/host.py": text})) == []
