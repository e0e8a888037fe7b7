"""The picture of the status, read from real stores."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from locum.clock import Clock, nanoseconds
from locum.coordination.coordinator import Coordinator
from locum.coordination.grant import Past
from locum.keeper.owner import Ending
from locum.names import random_id
from locum.store import ANY
from locum.testing.instances import owner_named
from locum.views.beats import BeatWatch
from locum.views.status import Instance, Service, Status, read_status
from tests.unit.kit import instance, opened, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.store import Store

CLOCK = Clock()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(tmp_path / "s.db") as store:
        yield store


async def picture(store: Store) -> Status:
    return await read_status(store, clock=CLOCK)


async def only_service(store: Store) -> Service:
    (service,) = (await picture(store)).services
    return service


async def only_instance(store: Store) -> Instance:
    (one,) = (await picture(store)).instances
    return one


async def grant(store: Store, name: str, **fields: object) -> None:
    value = {"token": 1, "holder": None, "past": None, **fields}
    await store.write(f"grant/election/{name}", json.dumps(value).encode(), expect=ANY)


def holder(session: str, name: str) -> dict[str, str]:
    return {"session": session, "attempt": f"of-{session}", "instance": name, "since": "2026-01-02T03:04:05+00:00"}


async def session(store: Store, name: str, number: int = 1) -> str:
    session_id = f"{number:032x}"
    await store.open_session(owner_named(name).to_bytes(), nanoseconds(6), session_id)
    return session_id


@asynccontextmanager
async def two_instances(tmp_path: Path) -> AsyncIterator[Store]:
    """web-1 leads in settle, web-2 waits; both have said so."""
    path = tmp_path / "s.db"
    async with instance(path, "web-1") as first, instance(path, "web-2") as second:
        one, two = Coordinator(first.commons), Coordinator(second.commons)
        async with one.election("settle").lead() as term:
            waiting = second.commons.spawn(two.election("settle").win(), "waits")
            async with first.store.changes(["line/"]) as changes:
                while len((await first.store.list("line/election/settle/")).records) < 2:
                    await soon(anext(changes))
            await one.publish({"settle": {"mode": "active", "token": term.token, "since": "now"}})
            await two.publish({"settle": {"mode": "passive", "token": None, "since": "then"}})
            yield first.store
            waiting.cancel()


async def test_an_empty_store_shows_nothing(store: Store) -> None:
    assert await picture(store) == Status(namespace="billing", store=store.url, instances=(), services=())


async def test_who_is_active_and_who_is_next(tmp_path: Path) -> None:
    async with two_instances(tmp_path) as store:
        status = await picture(store)
    (settle,) = status.services
    assert (settle.active, settle.mode, settle.token, settle.waiting) == ("web-1", "active", 1, ("web-2",))
    assert settle.next == "web-2"
    assert settle.since
    first, second = status.instances
    assert (first.name, first.enforcement, first.ttl) == ("web-1", "kill", 60.0)
    assert [(part.mode, part.token, part.place) for part in first.parts] == [("active", 1, None)]
    assert [(part.mode, part.token, part.place) for part in second.parts] == [("passive", None, 1)]


async def test_a_holder_that_is_gone_is_nobody(store: Store) -> None:
    gone = await session(store, "web-1")
    await grant(store, "settle", token=7, holder=holder(gone, "web-1"))
    await store.close_session(gone, reason=Ending("was killed (SIGKILL)").to_bytes())
    service = await only_service(store)
    assert service.active is None
    assert (service.previous, service.why, service.token) == ("web-1", "was killed (SIGKILL)", 7)


async def test_a_holder_of_an_unknown_session_is_nobody(store: Store) -> None:
    await grant(store, "settle", holder=holder("f" * 32, "web-1"))
    service = await only_service(store)
    assert (service.active, service.previous, service.why) == (None, "web-1", "")


async def test_a_vacant_grant_tells_who_gave_it_up(store: Store) -> None:
    past = Past(attempt="a", instance="web-1", since="s", why="resigned", at=1, key="k")
    await grant(store, "settle", past=asdict(past))
    service = await only_service(store)
    assert (service.active, service.previous, service.why) == (None, "web-1", "resigned")


async def test_a_vacant_grant_tells_whom_it_is_left_to(store: Store) -> None:
    past = Past(attempt="a", instance="web-1", since="s", why="was transferred to web-2", at=1, key="k")
    await grant(store, "settle", past=asdict(past), reserved={"instance": "web-2", "wait": 6})
    service = await only_service(store)
    assert (service.active, service.previous, service.reserved) == (None, "web-1", "web-2")


async def test_a_completed_service_is_shown_as_such(store: Store) -> None:
    one = await session(store, "web-1")
    await grant(store, "settle", holder=holder(one, "web-1"))
    said = {"services": {"settle": {"mode": "completed", "token": 1, "since": "x"}}}
    await store.write(f"member/{one}", json.dumps(said).encode(), expect=ANY, session=one)
    service = await only_service(store)
    assert (service.active, service.mode) == ("web-1", "completed")


async def test_what_an_instance_said_of_an_older_term_is_not_its_mode(store: Store) -> None:
    one = await session(store, "web-1")
    await grant(store, "settle", token=2, holder=holder(one, "web-1"))
    said = {"services": {"settle": {"mode": "completed", "token": 1, "since": "x"}}}
    await store.write(f"member/{one}", json.dumps(said).encode(), expect=ANY, session=one)
    assert (await only_service(store)).mode == ""


async def test_a_service_that_runs_on_a_number_of_instances_is_counted_where_it_does(store: Store) -> None:
    for number, mode in enumerate(("active", "active", "passive"), 1):
        one = await session(store, f"web-{number}", number)
        said = {"services": {"hello": {"mode": mode, "token": None, "since": "x"}}}
        await store.write(f"member/{one}", json.dumps(said).encode(), expect=ANY, session=one)
    service = await only_service(store)
    assert (service.exclusive, service.running) == (False, 2)


async def test_a_service_without_a_grant_runs_everywhere(store: Store) -> None:
    for number, mode in enumerate(("running", "running", "backoff"), 1):
        one = await session(store, f"web-{number}", number)
        said = {"services": {"poll": {"mode": mode, "token": None, "since": "x"}}}
        await store.write(f"member/{one}", json.dumps(said).encode(), expect=ANY, session=one)
    service = await only_service(store)
    assert (service.exclusive, service.running) == (False, 2)


async def test_one_that_waits_and_has_not_said_so_is_in_line(store: Store) -> None:
    one = await session(store, "web-1")
    await store.write("line/election/settle/abc", b'{"instance": "web-1"}', expect=ANY, session=one)
    await grant(store, "settle", token=0)
    (part,) = (await only_instance(store)).parts
    assert (part.service, part.mode, part.place) == ("settle", "", 1)


async def test_whoever_is_gone_waits_for_nothing(store: Store) -> None:
    await store.write("line/election/settle/abc", b'{"instance": "web-1"}', expect=ANY)
    await grant(store, "settle")
    assert (await only_service(store)).waiting == ()


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b"null", b'{"token": "x"}', b'"text"'])
async def test_a_corrupt_record_spoils_nothing_else(store: Store, value: bytes) -> None:
    good = await session(store, "web-1")
    await store.open_session(value, nanoseconds(6), "e" * 32)
    await grant(store, "good", holder=holder(good, "web-1"))
    await store.write("grant/election/bad", value, expect=ANY)
    await store.write("line/election/good/1", value, expect=ANY, session=good)
    await store.write(f"member/{good}", value, expect=ANY, session=good)
    status = await picture(store)
    services = {one.name: one for one in status.services}
    assert "grant/election/bad" in services["bad"].trouble
    assert services["good"].active == "web-1"
    assert "line/election/good/1" in services["good"].trouble
    instances = {one.name: one for one in status.instances}
    assert instances["web-1"].keeper is not None
    assert "not readable" in instances["web-1"].trouble
    assert "not readable" in instances["e" * 32].trouble


async def test_the_age_of_a_beat_is_its_number_on_this_boot(store: Store) -> None:
    one = await session(store, "web-1")
    assert (await only_instance(store)).beat_age is None, "it is only being opened"
    await store.beat(one, CLOCK.now() - nanoseconds(3))
    age = (await only_instance(store)).beat_age
    assert age is not None
    assert age >= 3
    await store.beat(one, CLOCK.now() + nanoseconds(3600))
    assert (await only_instance(store)).beat_age is None, "no beat comes from the future"


async def test_the_age_of_another_machines_beat_is_unknown_until_it_changes(store: Store) -> None:
    owner = owner_named("far-1")
    far = replace(owner, key=replace(owner.key, boot="another"))
    await store.open_session(far.to_bytes(), nanoseconds(6), "a" * 32)
    await store.beat("a" * 32, 5)
    watch = BeatWatch()
    ages = []
    for now, number in ((10, 5), (20, 6), (30, 6)):
        if number > 5 and now == 20:
            await store.beat("a" * 32, number)
        (one,) = watch.timed(await picture(store), now=nanoseconds(now)).instances
        ages.append(one.beat_age)
    assert ages == [None, 0.0, 10.0]


async def test_a_quarantine_is_shown_with_its_length(store: Store) -> None:
    await store.open_session(owner_named("web-1").to_bytes(), nanoseconds(8), random_id())
    assert (await picture(store)).quarantine == 0
    await store.renew(max_ttl=nanoseconds(3))
    assert (await picture(store)).quarantine == 8
