"""The picture of the shards, and what the command prints of it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from locum.cli.main import main
from locum.coordination.grant import Grant, Holder, Past, grant_key
from locum.coordination.plan import Plan, plan_key
from locum.coordination.shard import ShardState, shard_scope
from locum.coordination.shards import report_prefix
from locum.store import ANY
from locum.views.shards import ShardView, read_shards
from tests.unit.kit import instance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.testing.instances import Instance

SINCE = "2026-01-02T03:04:05+00:00"


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Instance]:
    """web-1 owns shard 0; 1 is dead, 2 rests, 3 was never owned, and what 4 is cannot be read."""
    async with instance(tmp_path / "store.db", "web-1") as one:
        lease = await one.leases.lease()
        plan = Plan(4, ("web-1",) * 4 + (None,), {"web-1": 1.0}, "web-1")
        await one.store.write(plan_key("orders"), plan.to_bytes(), expect=ANY)
        holder = Holder(lease.session, "attempt", "web-1", SINCE)
        past = Past("before", "web-2", SINCE, "raised ValueError: no", 1, "key")
        states = {
            0: Grant(7, holder, value=ShardState(moves=2, reason="web-2 was stopped", owner="web-1").to_bytes()),
            1: Grant(4, past=past, value=ShardState(failures=4, trouble="raised ValueError: no", dead=True).to_bytes()),
            2: Grant(3, past=past, value=ShardState(failures=1, trouble="raised ValueError: no").to_bytes()),
        }
        for index, grant in states.items():
            await one.store.write(grant_key(shard_scope("orders", index)), grant.to_bytes(), expect=ANY)
        await one.store.write(grant_key(shard_scope("orders", 4)), b"nonsense", expect=ANY)
        said = json.dumps({"instance": "web-1", "lags": {"0": 12.5}}).encode()
        await one.store.write(report_prefix("orders") + lease.session, said, expect=ANY, session=lease.session)
        yield one


async def test_each_shard_is_shown_as_it_is(one: Instance) -> None:
    seen = await read_shards(one.store)
    assert seen[:4] == (
        ShardView(
            service="orders",
            index=0,
            owner="web-1",
            planned="web-1",
            token=7,
            since=SINCE,
            moves=2,
            reason="web-2 was stopped",
            lag=12.5,
            state="owned",
        ),
        ShardView(
            service="orders",
            index=1,
            planned="web-1",
            token=4,
            reason="web-2 raised ValueError: no",
            state="dead",
            failures=4,
            trouble="raised ValueError: no",
        ),
        ShardView(
            service="orders",
            index=2,
            planned="web-1",
            token=3,
            reason="web-2 raised ValueError: no",
            state="failing",
            failures=1,
            trouble="raised ValueError: no",
        ),
        ShardView(service="orders", index=3, planned="web-1"),
    )
    assert "it is no grant" in seen[4].trouble
    assert await read_shards(one.store, "invoices") == ()


async def test_whose_session_is_over_owns_nothing(one: Instance) -> None:
    lease = await one.leases.lease()
    await one.store.close_session(lease.session, reason=b"")
    first, *_ = await read_shards(one.store, "orders")
    assert (first.owner, first.state, first.token, first.lag) == (None, "free", 7, None)


@pytest.fixture
def command(one: Instance) -> list[str]:
    return ["--store", one.store.url, "--namespace", one.store.namespace]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(list(arguments))
    return code, capsys.readouterr().out


async def test_the_command_prints_them(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, text = await asyncio.to_thread(printed, capsys, "status", "shards", *command)
    lines = text.splitlines()
    assert code == 0
    assert lines[2].split() == ["SERVICE", "SHARD", "OWNER", "TOKEN", "SINCE", "MOVES", "LAG", "REASON"]
    assert "12.5" in lines[3]
    assert "nobody (dead)" in lines[4]
    assert "orders: 5 shards: nobody 4, web-1 1." in lines
    assert any(line.endswith("locum revive orders 1") for line in lines)
    _, text = await asyncio.to_thread(printed, capsys, "status", "shards", "--json", *command)
    found: dict[str, Any] = json.loads(text)
    assert [one["state"] for one in found["shards"]] == ["owned", "dead", "failing", "free", "free"]


async def test_what_is_dead_is_revived_by_hand(
    one: Instance, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = await asyncio.to_thread(printed, capsys, "revive", "orders", "1", *command)
    assert (code, text) == (0, "orders 1 is run again.\n")
    assert (await read_shards(one.store, "orders"))[1].state == "free"
    code, _ = await asyncio.to_thread(printed, capsys, "revive", "orders", "1", *command)
    assert code == 1
