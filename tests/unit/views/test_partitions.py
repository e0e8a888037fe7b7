"""The picture of partitions, read from records as they may stand there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from locum.coordination.grant import Grant, Holder, Past, Reserved, grant_key
from locum.coordination.line import Entry, entry_key
from locum.coordination.partitions import PARTITIONINGS, int64_range
from locum.coordination.plan import Plan, plan_key
from locum.coordination.replica_report import KIND, REPORTS, Report, Told
from locum.store import ANY
from locum.views.partitions import SecondaryView, read_partitions
from tests.unit.kit import instance

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.testing.instances import Instance

SINCE = "2026-01-02T03:04:05+00:00"


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Instance]:
    """web-1 leads 0 and waits for 1, which was left to web-2; what 2 is cannot be read; nobody has had 3."""
    async with instance(tmp_path / "store.db", "web-1") as one:
        lease = await one.leases.lease()
        write: Any = one.store.write
        await write(PARTITIONINGS + "counts", int64_range(4, low=0, high=99).to_bytes(), expect=ANY)
        plan = Plan(1, ("web-1", "web-2") * 4, {"web-1": 1.0, "web-2": 1.0}, "web-1")
        await write(plan_key("counts", kind=KIND), plan.to_bytes(), expect=ANY)
        past = Past("before", "web-3", SINCE, "was transferred to web-2", 1, "key")
        grants = {
            0: Grant(7, Holder(lease.session, "attempt", "web-1", SINCE)).to_bytes(),
            1: Grant(4, past=past, reserved=Reserved("web-2", 6)).to_bytes(),
            2: b"nonsense",
        }
        for index, value in grants.items():
            await write(grant_key(f"{KIND}/counts/{index}"), value, expect=ANY)
        for index, attempt in ((0, "attempt"), (1, "another")):
            key = entry_key(f"{KIND}/counts/{index}", attempt)
            await write(key, Entry.value("web-1"), expect=ANY, session=lease.session)
        report = Report("web-1", 2, {0: Told(12, 0), 1: Told(5, 3)})
        await write(f"{REPORTS}counts/{lease.session}", report.to_bytes(), expect=ANY, session=lease.session)
        await write(f"{REPORTS}counts/{'f' * 32}", b"nonsense", expect=ANY)
        yield one


async def test_each_partition_is_shown_as_it_is(one: Instance) -> None:
    led, left, broken, new = await read_partitions(one.store, "counts")
    assert (led.primary, led.token, led.since, led.position) == ("web-1", 7, SINCE, 12)
    assert led.secondaries == (SecondaryView(instance="web-2", is_ready=False),)
    assert led.waiting == ()
    assert (led.low, led.high, led.name, led.least, led.is_few) == (0, 24, "counts/0", 2, True)
    assert (left.primary, left.previous, left.why, left.reserved) == (
        None,
        "web-3",
        "was transferred to web-2",
        "web-2",
    )
    first, second = left.secondaries
    assert (first.instance, first.is_ready, first.position, first.lag) == ("web-1", True, 5, 3)
    assert (second.instance, second.is_ready) == ("web-2", False)
    assert "it is no grant" in broken.trouble
    assert (new.primary, new.token, new.previous) == (None, 0, "")
    assert await read_partitions(one.store, "orders") == ()


async def test_whose_session_is_over_leads_nothing_and_tells_nothing(one: Instance) -> None:
    lease = await one.leases.lease()
    await one.store.close_session(lease.session, reason=b"")
    led, left, *_ = await read_partitions(one.store)
    assert (led.primary, led.previous, led.token, led.position, led.least) == (None, "web-1", 7, None, 1)
    assert left.waiting == ()


async def test_how_it_is_divided_cannot_be_read(one: Instance) -> None:
    await one.store.write(PARTITIONINGS + "counts", b"nonsense", expect=ANY)
    (only,) = await read_partitions(one.store)
    assert "it says nothing of partitions" in only.trouble
