"""What a server says of itself, and what follows from it."""

from __future__ import annotations

import pytest

from locum.errors import ConfigurationError, StoreUnavailableError
from locum.stores.redis.server import Server

GOOD = {
    "redis_version": "7.0.15",
    "redis_mode": "standalone",
    "run_id": "a",
    "loading": "0",
    "aof_enabled": "1",
    "role": "master",
    "connected_slaves": "0",
    "master_replid2": "0" * 40,
    "maxmemory_policy": "noeviction",
}


def of(fsync: str | None = "always", **other: str) -> Server:
    return Server.of({**GOOD, **other}, fsync=fsync, url="redis://h")


def test_one_that_keeps_what_it_acknowledged_has_no_weakness() -> None:
    found = of()
    assert (found.version, found.run, found.weakness) == ("Redis 7.0.15", "a", None)
    assert of(maxmemory_policy="volatile-lru").weakness is None
    assert of(server_name="valkey", valkey_version="8.1.0").version == "Valkey 8.1.0"


@pytest.mark.parametrize(
    ("weakness", "fsync", "other"),
    [
        ("appendonly is off", "always", {"aof_enabled": "0"}),
        ("appendfsync is everysec", "everysec", {}),
        ("may not read appendfsync", None, {}),
        ("a replica may be promoted", "always", {"connected_slaves": "1"}),
        ("a replica may be promoted", "always", {"master_replid2": "f" * 40}),
    ],
)
def test_one_that_may_lose_something_says_why(weakness: str, fsync: str | None, other: dict[str, str]) -> None:
    assert weakness in str(of(fsync, **other).weakness)


@pytest.mark.parametrize(
    ("why", "other"),
    [
        (r"it is Redis 6\.0\.16, and 6\.2 or newer is needed: upgrade", {"redis_version": "6.0.16"}),
        ("Redis 0, and 6.2 or newer", {"redis_version": "0"}),
        ("runs as cluster: name a server that runs alone", {"redis_mode": "cluster"}),
        ("runs as sentinel", {"redis_mode": "sentinel"}),
        (
            "a read-only replica of h2:6379: name its primary",
            {"role": "slave", "master_host": "h2", "master_port": "6379"},
        ),
        (r"throws away any key .*\(maxmemory-policy allkeys-lru\).* noeviction", {"maxmemory_policy": "allkeys-lru"}),
    ],
)
def test_one_that_cannot_be_a_store_is_refused(why: str, other: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=why):
        of(**other)


def test_one_that_still_reads_its_files_is_waited_for() -> None:
    with pytest.raises(StoreUnavailableError, match="still reads its files"):
        of(loading="1")
