"""A host of many services: none waits for one that it does not need, and the store is not asked for each."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from locum import BackgroundService, Host, Stopping

if TYPE_CHECKING:
    from pathlib import Path

MANY = 100


async def test_all_start_and_stop_side_by_side(tmp_path: Path) -> None:
    """Each waits in its start, and in its stop, until all the others are there too."""
    there, back = asyncio.Barrier(MANY), asyncio.Barrier(MANY)
    ran: set[str] = set()

    class Trivial(BackgroundService):
        def __init__(self, name: str) -> None:
            self.name = name

        async def start(self) -> None:
            await there.wait()

        async def run(self, stopping: Stopping) -> None:
            ran.add(self.name)
            await stopping.sleep(3600)

        async def stop(self) -> None:
            await back.wait()

    host = Host("many", store=f"sqlite:///{tmp_path}/store.db", ttl=20)
    for number in range(MANY):
        host.add(Trivial(f"s{number}"), name=f"s{number}", start_timeout=20, stop_timeout=20)
    async with host.lifespan():
        assert len(ran) == MANY
    assert host.plan.health is not None
    assert {one["state"] for one in host.plan.health.picture()["services"].values()} == {"stopped"}


async def test_the_store_has_no_more_to_do_for_many_services_than_for_one(tmp_path: Path) -> None:
    assert await changes_by(tmp_path / "many.db", MANY) <= await changes_by(tmp_path / "one.db", 1) + 2


async def changes_by(database: Path, count: int) -> int:
    """How many times a host of so many services has changed its store from its start to its stop."""
    host = Host("many", store=f"sqlite:///{database}", ttl=20)

    async def trivial(stopping: Stopping) -> None:
        await stopping.sleep(3600)

    for number in range(count):
        host.background(name=f"s{number}")(trivial)
    async with host.lifespan():
        await asyncio.sleep(0.2)  # what they do is shown in the store
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT revision FROM locum_store").fetchone()[0])


# -- what is loaded

FOREIGN = {"dishka", "pydantic", "pydantic_settings", "dotenv", "sqlalchemy", "structlog", "yaml", "click", "rich"}


@pytest.mark.parametrize(
    ("statement", "refused"),
    [
        ("import locum", {"asyncio", "sqlite3", "logging", *FOREIGN}),
        (
            "from locum import Host, Term, Stopping, Options; Host('x').background(name='y')(lambda: None)",
            {"sqlite3", *FOREIGN},
        ),
        ("import locum.host.embedded, locum.host.kept", FOREIGN),
    ],
    ids=["import locum", "a host that is declared", "a host that runs"],
)
def test_what_nobody_asked_for_is_not_loaded(statement: str, refused: set[str]) -> None:
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert {name.partition(".")[0] for name in loaded} & refused == set()
    if statement == "import locum":
        assert [name for name in loaded if name.startswith("locum")] == ["locum"]
