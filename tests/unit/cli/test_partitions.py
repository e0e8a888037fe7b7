"""Partitions on the command line: who is their primary, and how one is handed over."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from locum import AsgiListener, Host, Listening, Role, StatefulService, Term, named
from locum.cli.main import main
from locum.cli.partitions import rows_of_partitions
from locum.cli.words import ranges
from locum.views.partitions import PartitionView, SecondaryView
from tests.unit.kit import LONG, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path


class Counts(StatefulService):
    """Notes what becomes of its objects, and each time that listeners are made."""

    partitions = named("eu", "us")
    join_delay = 0.0
    least_replicas = 2
    all: ClassVar[list[Counts]]

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.all.append(self)

    async def on_change_role(self, role: Role) -> None:
        self.steps.append(f"is {role.value}")

    def listeners(self) -> Iterable[AsgiListener | Listening]:
        self.steps.append("listeners")
        yield AsgiListener(self.answer)

    async def answer(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def run(self, term: Term) -> None:
        self.steps.append("runs")
        async with self.state.transaction() as tx:
            await self.state.dictionary("counts").set(tx, "token", term.token)


def host(url: str, counts: type[Counts], name: str) -> Host:
    made = Host("billing", store=url, instance=name)
    made.add(counts, name="counts", stop_timeout=LONG)
    return made


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def counts() -> type[Counts]:
    return type("Counts", (Counts,), {"all": []})


async def locum(capsys: pytest.CaptureFixture[str], url: str, *arguments: str) -> tuple[int, str]:
    """What a command leaves with, and says."""
    code = await asyncio.to_thread(main, [*arguments, "--store", url, "--namespace", "billing"])
    said = capsys.readouterr()
    return code, said.out + said.err


@asynccontextmanager
async def two(url: str, counts: type[Counts]) -> AsyncIterator[None]:
    """Two instances, of which one leads at first."""
    async with host(url, counts, "web-1").lifespan(), host(url, counts, "web-2").lifespan():
        yield


def leaders(counts: type[Counts]) -> list[Counts]:
    """The objects that are the primaries of the first partition, with their run begun."""
    mine = [one for one in counts.all if one.partition.name == "eu"]
    return [one for one in mine if one.role is Role.PRIMARY and one.steps[-1] == "is primary"]


def roles_of(one: Counts) -> list[str]:
    """Its steps, without the making of listeners."""
    return [step for step in one.steps if step != "listeners"]


async def seen(capsys: pytest.CaptureFixture[str], url: str) -> dict[str, Any]:
    """The partitions of the status, by name."""
    _, text = await locum(capsys, url, "status", "--json")
    return {one["partition"]: one for one in json.loads(text)["partitions"]}


async def until_spread(capsys: pytest.CaptureFixture[str], url: str) -> dict[str, Any]:
    """The picture in which each instance is the primary of a partition, and a ready secondary of the other one."""
    async with asyncio.timeout(LONG):
        while True:
            found = await seen(capsys, url)
            ready = [[other["is_ready"] for other in one["secondaries"]] for one in found.values()]
            if {one["primary"] for one in found.values()} == {"web-1", "web-2"} and ready == [[True], [True]]:
                return found


async def test_the_status_shows_who_leads_each_and_who_stands_by(
    url: str, counts: type[Counts], capsys: pytest.CaptureFixture[str]
) -> None:
    async with two(url, counts):
        found = await until_spread(capsys, url)
        assert list(found) == ["eu", "us"]
        for one in found.values():
            assert {one["primary"], one["secondaries"][0]["instance"]} == {"web-1", "web-2"}
            assert one["token"] >= 1
            assert one["since"]
        async with asyncio.timeout(LONG):
            while any(one["position"] is None or one["least"] != 2 for one in found.values()):
                found = await seen(capsys, url)  # told of every 2 s
        assert all(other["lag"] is not None for one in found.values() for other in one["secondaries"])
        code, text = await locum(capsys, url, "status")
        assert code == 0
        assert "2 partitions, each with a primary" in text
        code, text = await locum(capsys, url, "status", "partitions", "counts")
        lines = [line.split() for line in text.splitlines()]
        assert lines[2][:3] == ["SERVICE", "PARTITION", "PRIMARY"]
        assert [line[1:3] for line in lines[3:5]] == [[name, found[name]["primary"]] for name in ("eu", "us")]
        assert (await locum(capsys, url, "status", "partitions", "--watch"))[0] == 2
    assert "no primary" not in text
    _, text = await locum(capsys, url, "status")
    assert "2 partitions, 2 without a primary" in text


async def test_a_primary_hands_over_to_whom_it_is_told_to_and_leads_again_with_new_listeners(
    url: str, counts: type[Counts], capsys: pytest.CaptureFixture[str]
) -> None:
    async with two(url, counts):
        before = (await until_spread(capsys, url))["eu"]
        here, there = before["primary"], before["secondaries"][0]["instance"]
        await until(lambda: leaders(counts), "its promotion")
        (first,) = leaders(counts)
        assert roles_of(first) == ["is secondary", "runs", "is primary"]
        made = first.steps.count("listeners")
        code, text = await locum(capsys, url, "transfer", "counts/eu", "--to", there)
        assert code == 0, text
        assert text.startswith(
            f"{there} is the primary of counts/eu (token {before['token'] + 1}): transferred from {here},"
        )
        # that leaves one instance with both: the other one is handed over, and not what somebody has just moved
        after = await until_spread(capsys, url)
        assert (after["eu"]["primary"], after["us"]["primary"]) == (there, here)
        code, text = await locum(capsys, url, "resign", "counts/eu")
        assert (code, text.startswith(f"{here} is the primary of counts/eu")) == (0, True), text
        await until(lambda: first.steps[-1] == "is primary", "the first one to lead again")
        assert roles_of(first) == ["is secondary", "runs", "is primary", "is secondary", "runs", "is primary"]
        assert first.steps.count("listeners") > made, "each time it listens with new ones"
        _, text = await locum(capsys, url, "journal", "counts/eu")
        assert f"was transferred to {there} (asked by" in text
        assert "counts/us" not in text


async def test_what_cannot_be_handed_over_is_told(
    url: str, counts: type[Counts], capsys: pytest.CaptureFixture[str]
) -> None:
    async with host(url, counts, "web-1").lifespan():
        await until(lambda: [one.role for one in counts.all] == [Role.PRIMARY] * 2, "both to lead")
        for arguments, told in (
            (("transfer", "counts/eu", "--to", "web-2"), "it does not wait in line (nobody does)"),
            (("transfer", "counts/de", "--to", "web-2"), "counts has no partition 'de'; it has: eu, us."),
            (("resign", "counts"), "counts has 2 partitions (eu, us): resign one of them, as counts/eu."),
            (("resign", "orders"), "it has: counts/PARTITION."),
        ):
            code, text = await locum(capsys, url, *arguments)
            assert code == 1
            assert told in text
        assert (await locum(capsys, url, "resign", "counts/"))[0] == 2


async def test_fewer_replicas_than_there_are_to_be_are_told_of_and_refuse_nothing(
    url: str, counts: type[Counts], capsys: pytest.CaptureFixture[str]
) -> None:
    one = host(url, counts, "web-1")
    async with one.lifespan():
        health = one.plan.health
        assert health is not None

        def warning() -> str | None:
            found: str | None = health.picture()["services"]["counts"]["warning"]
            return found

        await until(lambda: warning() == "eu, us: fewer than 2 replicas are ready", "the warning")
        assert health.is_ready, "it serves all the same"
        await until(lambda: sum("runs" in each.steps for each in counts.all) == 2, "both to write")
        async with host(url, counts, "web-2").lifespan():
            await until(lambda: warning() is None, "the second replicas")


# -- the picture


def part(index: int, primary: str | None, *, ready: int = 2) -> PartitionView:
    """One of many."""
    return PartitionView(
        service="baskets",
        partition=str(index),
        index=index,
        primary=primary,
        secondaries=tuple(SecondaryView(instance=f"other-{number}", is_ready=number < ready) for number in range(2)),
        least=3,
    )


def test_of_many_partitions_each_instance_is_a_row() -> None:
    many = [part(index, None if index == 7 else f"web-{index % 3}") for index in range(64)]
    rows = [[cell.text for cell in row] for row in rows_of_partitions(many, None)]
    assert [row[2] for row in rows] == ["nobody", "web-0", "web-1", "web-2"]
    assert rows[0][1] == "1: 7"
    assert rows[1][1].startswith("22: 0, 3, 6,")
    assert len(rows_of_partitions(many[:8], None)) == 8


def test_what_counts_is_who_is_ready() -> None:
    assert [part(0, "web-1").is_few, part(0, "web-1", ready=1).is_few, part(0, None).is_few] == [False, True, True]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((), ""),
        (("eu", "us"), "eu, us"),
        (("0", "1", "2", "3", "7", "9", "10"), "0-3, 7, 9, 10"),
        (tuple(str(number) for number in range(0, 60, 2)), ", ".join(map(str, range(0, 48, 2))) + " and 6 more"),
    ],
)
def test_names_in_a_row(names: tuple[str, ...], told: str) -> None:
    assert ranges(names) == told
