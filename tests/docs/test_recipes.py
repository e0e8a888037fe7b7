"""The programs of the pages about recipes run as they stand there; one that needs a server has a real one."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from locum.testing.conformance import demand_server
from tests.docs.pages import programs
from tests.servers.redis import Redis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAMS = [
    (page, number, text)
    for page in (
        "locks.md",
        "read-write-locks.md",
        "semaphores.md",
        "barriers.md",
        "elections.md",
        "nodes.md",
        "members.md",
        "service-clients.md",
        "blocking-code.md",
        "fences.md",
        "fence-redis-and-http.md",
        "jobs.md",
        "jobs-missed-times.md",
        "jobs-overlaps.md",
        "jobs-slices.md",
        "jobs-limits.md",
        "shards.md",
        "streams.md",
        "stateful-services.md",
    )
    for number, text in enumerate(programs(f"docs/how-to/{page}"))
]
SAYS = {
    ("jobs-missed-times.md", 0): (
        "latest: runs [15], dropped: 12 to 14\nnone: runs [], dropped: 12 to 15\n"
        "earliest: runs [12], dropped: 13 to 15\nall: runs [14, 15], dropped: 12 to 13\n"
    ),
    ("jobs-overlaps.md", 0): (
        "skip skip skip\nbuffer_one wait skip\nbuffer_all wait wait\ncancel_running replace replace\n"
    ),
    ("jobs-slices.md", 0): "sum 499500 of 10 slices\n",
    ("shards.md", 0): "100 customers are done\n",
    ("streams.md", 0): "each number was summed once by each shard\n",
    ("stateful-services.md", 0): "alice has 1 as of 0.0 s ago\n",
    ("locks.md", 0): "token 1\nb'sent'\n",
    ("read-write-locks.md", 0): "token 1\n",
    ("barriers.md", 0): "loaded 1\nloaded 2\nall are loaded\nall are loaded\n",
    ("members.md", 0): ("web-1 1.4 0.7 {'zone': 'a'}\nweb-2 1.5 None {}\n['web-1', 'web-2']\nleft 0 joined 1\n"),
    ("blocking-code.md", 0): "3 orders, each under a token of its own\nb'5' True\n",
    ("service-clients.md", 0): "200 served in term 1\n",
    ("fences.md", 0): (
        "the fence of shop/lock/books refuses token 1: it has seen 2; roll back and stop working under it\n[(1,)]\n"
    ),
    ("fence-redis-and-http.md", 0): (
        "the fence of lock/prices refuses token 1: it has seen 2; roll back and stop working under it\n"
        "b'1.20'\nb'1.30'\n"
    ),
    ("fence-redis-and-http.md", 1): "204\n204\n412\n[(b'1.30', 2)]\n",
    ("nodes.md", 0): "it is b'20'\n[b'first', b'second']\nwatched b'20'\n",
    ("jobs.md", 0): (
        "settle 2026-01-30 after None\nsettle 2026-01-31 after 2026-01-30\n[('succeeded', 1), ('succeeded', 2)]\n"
    ),
}


REDIS: Final = "redis://localhost:6379/0"


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    demand_server("redis", Redis.is_installed())
    with Redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.mark.parametrize(("page", "number", "text"), PROGRAMS, ids=[f"{page}-{number}" for page, number, _ in PROGRAMS])
def test_it_runs(page: str, number: int, text: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if REDIS in text:
        text = text.replace(REDIS, f"redis://127.0.0.1:{request.getfixturevalue('redis').port}/0")
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == SAYS.get((page, number), done.stdout)
