"""A real keeper loads nothing of the host and nothing of the user's: every import of its process is written down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from locum.identity import parent_of
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

HOOK = """
import os, sys
def note(event, arguments):
    if event == "import":
        with open(os.path.join({folder!r}, f"{{os.getpid()}}.imports"), "a") as file:
            file.write(arguments[0] + "\\n")
sys.addaudithook(note)
"""
APP = """
import os
import wave
from pathlib import Path
from pydantic import BaseModel
from locum import Host, Options, Term
class Billing(BaseModel):
    rate: int = 1
host = Host("billing", health="127.0.0.1:0")
host.options(Billing)
@host.active_passive(every=0.05)
async def settle(term: Term, options: Options[Billing]) -> None:
    Path("worker").write_text(str(os.getpid()))
"""
HOST = ("locum.host", "locum.services", "locum.jobs", "locum.views", "locum.cli", "locum.coordination", "wave")
FOREIGN = ("dishka", "pydantic", "pydantic_settings", "sqlalchemy", "click", "rich", "structlog", "yaml", "dotenv")


def test_the_keeper_loads_nothing_of_the_host_and_nothing_of_the_users(tmp_path: Path) -> None:
    (tmp_path / "billing.py").write_text(APP)
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK.format(folder=str(tmp_path)))
    process = subprocess.Popen(
        [sys.executable, "-m", "locum", "run", "billing:host"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(hook)},
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: (tmp_path / "worker").exists() and (tmp_path / "worker").read_text(), "a turn")
        worker = int((tmp_path / "worker").read_text())
        keeper = parent_of(worker)
        assert keeper is not None
        assert parent_of(keeper) == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    loaded = {pid: set((tmp_path / f"{pid}.imports").read_text().split()) for pid in (keeper, worker)}
    assert not {name for name in loaded[keeper] if name.startswith(HOST) or name.partition(".")[0] in FOREIGN}
    assert {"locum.keeper.process", "locum.stores.sqlite.store"} <= loaded[keeper]
    assert {"locum.host.host", "locum.services.background", "pydantic", "dishka", "wave"} <= loaded[worker]
