"""Programs of pages that need some more around them run inside that, as they stand there."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from locum import BackgroundService, Host
from tests.docs.pages import programs
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from pathlib import Path


def say(folder: Path, program: str) -> list[str]:
    """What a program says, which ends by itself."""
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def in_main(block: str, before: str) -> str:
    return f"{textwrap.dedent(before)}\nasync def main():\n{textwrap.indent(block, '    ')}\n\nasyncio.run(main())\n"


def test_the_front_page(tmp_path: Path) -> None:
    (program,) = programs("docs/index.md")
    (tmp_path / "billing.py").write_text(program)
    output = tmp_path / "out"
    with output.open("wb") as file:
        process = subprocess.Popen([sys.executable, "billing.py"], cwd=tmp_path, stdout=file, stderr=subprocess.STDOUT)
    try:
        until(lambda: output.read_text().count("settled under token 1") > 1, "two turns")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("page", ["sqlite.md", "postgresql.md", "redis.md"])
def test_the_store_of_a_page(page: str) -> None:
    (program,) = programs(f"docs/stores/{page}")
    names: dict[str, Any] = {"Host": Host}
    exec(program, names)  # noqa: S102 - a page of our own
    assert names["host"].settings.store_url.startswith(f"{page.removesuffix('.md')}://")


def test_the_time_of_a_stop() -> None:
    (program,) = programs("docs/how-to/stopping-and-exit-codes.md")

    class Settlement(BackgroundService): ...

    host = Host("billing")
    exec(program, {"host": host, "Settlement": Settlement})  # noqa: S102 - a page of our own
    assert [one.stop_timeout for one in host.plan.declarations] == [20]


def test_who_leads_hands_over_to_another_one(tmp_path: Path) -> None:
    (block,) = programs("docs/how-to/transfer-and-resign.md")
    before = """
        import asyncio

        from locum import Coordinator
        from locum.errors import TermEndedError, TransferRefusedError

        url = "sqlite:///store.db"

        async def successor():
            async with Coordinator.connect(url, namespace="billing", instance="web-3") as coordinator:
                async with coordinator.election("settlement").lead() as term:
                    print("web-3 leads under", term.token)

        async def patiently(transfer, *, to):
            asyncio.get_running_loop().other = asyncio.create_task(successor())
            while True:
                try:
                    return await transfer(to=to)
                except TransferRefusedError:  # it does not wait yet
                    await asyncio.sleep(0.05)
    """
    block = (
        block.replace("election.transfer(", "patiently(election.transfer, ") + "await asyncio.get_running_loop().other"
    )
    assert say(tmp_path, in_main(block, before)) == [
        "web-2 leads under 1",
        "the term 1 in election/settlement is over: was transferred to web-3; stop working under it",
        "web-3 leads under 2",
    ]


# -- inside an application


PATH = "/var/lib/billing/locum.db"


def test_a_web_application_with_a_lifespan_of_its_own(tmp_path: Path) -> None:
    application, lifespan, _ = programs("docs/how-to/inside-your-application.md")
    program = f"""
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

{application.replace(PATH, str(tmp_path / "locum.db"))}

@asynccontextmanager
async def open_pool():
    yield "pool"
    print("the pool closes")

{lifespan}

async def main():
    async with app.router.lifespan_context(app):
        print("ready", host.plan.health.is_ready)
    other = FastAPI(lifespan=lifespan)
    async with other.router.lifespan_context(other):
        print("ready", host.plan.health.is_ready, other.state.pool)
    print("ready", host.plan.health.is_ready)

asyncio.run(main())
"""
    assert say(tmp_path, program) == ["ready True", "ready True pool", "the pool closes", "ready False"]


def test_a_coordinator_without_a_host(tmp_path: Path) -> None:
    block = programs("docs/how-to/inside-your-application.md")[2]
    before = f"""
        import asyncio

        from locum import Coordinator
        from sqlalchemy import text
        from sqlalchemy.ext.asyncio import create_async_engine

        engine = create_async_engine("sqlite+aiosqlite:///{tmp_path}/orders.db")
    """
    work = "print(await connection.scalar(text('SELECT 7')), term.token)\n            return await engine.dispose()"
    program = in_main(block.replace(PATH, str(tmp_path / "locum.db")).replace("...", work), before)
    assert say(tmp_path, program) == ["7 1"]
