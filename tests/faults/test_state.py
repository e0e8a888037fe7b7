"""S02, S03, S05, S07: the state of a partition, whose replicas are frozen, killed and demoted while they write."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from locum.state.checkpointing import AHEAD
from locum.state.commits import LIMIT
from locum.state.database import opened
from locum.state.state import State
from tests.faults.kit.places import ServerPlace
from tests.faults.kit.replicas import Replicas
from tests.faults.kit.runs import FULL, count
from tests.faults.kit.waiting import LONG, pass_by, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.kit.places import Place

WRITERS = 20


@pytest.fixture
def replicas(place: Place, tmp_path: Path) -> Iterator[Replicas]:
    with Replicas(place, tmp_path) as made:
        yield made


def written(replicas: Replicas, more: int) -> None:
    """Wait until so many more transactions were acknowledged."""
    before = len(replicas.said())
    until(lambda: len(replicas.said()) >= before + more, f"{more} more transactions")


def errors(replicas: Replicas) -> int:
    """How many transactions have ended with an error so far."""
    return sum(line.get("outcome", "ok") != "ok" for line in replicas.said())


@pytest.mark.stores("sqlite", "postgresql")
def test_s02_a_primary_that_was_frozen_is_refused_by_the_log_itself(replicas: Replicas) -> None:
    old, new = replicas.start(), replicas.start()
    assert old.do("promote", token=1) == {"records": 0}
    old.do("add", times=3)
    old.freeze()
    old.say("add", times=2)  # it is written as soon as it goes on
    assert new.do("promote", token=2)["records"] <= 3
    old.resume()
    old.answer()
    new.do("add", times=3)
    told = replicas.judge()
    assert told == {"ok": 6, "StaleTermError": 1, "NotPrimaryError": 1}


@pytest.mark.stores("postgresql")
def test_s02_a_primary_that_was_frozen_in_the_middle_of_its_commits(replicas: Replicas) -> None:
    """A file's writer that is frozen in the middle has the file to itself until its keeper ends it."""
    dice, token = random.Random(2), 1
    primary = replicas.start()
    primary.do("promote", token=token)
    for _ in range(count(30, 2)):
        successor = replicas.start()
        primary.do("stream", writers=WRITERS)
        written(replicas, 50)
        pass_by(dice.random() * 0.02)
        primary.freeze()
        token += 1
        successor.do("promote", token=token)
        successor.do("add", times=3)
        primary.resume()
        primary.do("still")
        told = replicas.judge()
        assert told["StaleTermError"], "those that were on their way are refused"
        primary.kill()
        primary = successor


@pytest.mark.stores("sqlite", "postgresql")
def test_s02_a_primary_that_writes_is_overtaken(replicas: Replicas) -> None:
    """Nobody has told it; all that it was acknowledged is there for its successor, and nothing comes after that."""
    primary, token = replicas.start(), 1
    primary.do("promote", token=token)
    for _ in range(count(30, 3)):
        successor = replicas.start()
        primary.do("stream", writers=WRITERS)
        written(replicas, 100)
        token += 1
        successor.do("promote", token=token)
        successor.do("add", times=3)
        primary.do("still")
        told = replicas.judge()
        assert told["StaleTermError"] >= token - 1
        primary.kill()
        primary = successor


@pytest.mark.stores("sqlite", "postgresql")
def test_s03_a_primary_is_killed_while_commits_are_on_their_way(replicas: Replicas) -> None:
    dice, token = random.Random(3), 1
    primary, secondary = replicas.start(), replicas.start()
    primary.do("promote", token=token)
    for _ in range(count(50, 3)):
        primary.do("stream", writers=WRITERS)
        written(replicas, 100)
        pass_by(dice.random() * 0.02)
        primary.kill()
        token += 1
        secondary.do("promote", token=token)
        replicas.judge()
        primary, secondary = secondary, replicas.start()
    assert replicas.judge()["ok"] >= 100


@pytest.mark.stores("sqlite", "postgresql")
def test_s03_a_primary_is_demoted_while_commits_are_on_their_way(replicas: Replicas) -> None:
    dice, token = random.Random(4), 1
    primary, secondary = replicas.start(), replicas.start()
    primary.do("promote", token=token)
    told: Counter[str] = Counter()
    for _ in range(count(50, 3)):
        primary.do("stream", writers=WRITERS)
        written(replicas, 100)
        pass_by(dice.random() * 0.02)
        primary.do("demote")
        token += 1
        secondary.do("promote", token=token)
        primary.do("still")
        told = replicas.judge()
        assert not told["OutcomeUnknownError"], "it waits for what is on its way"
        primary, secondary = secondary, primary
    assert told["NotPrimaryError"]


@pytest.mark.stores("sqlite", "postgresql", own=True)
def test_s05_the_engine_is_away_and_comes_back(replicas: Replicas, place: Place) -> None:
    primary, secondary = replicas.start(), replicas.start()
    limit = LIMIT if FULL else LIMIT / 4
    primary.do("promote", token=1)
    primary.do("stream", writers=WRITERS, limit=limit)
    written(replicas, 100)
    injuries = [place.away, place.ended] if isinstance(place, ServerPlace) else [place.away]
    for injury in injuries:
        with injury():
            before = errors(replicas)
            until(lambda: errors(replicas) >= before + WRITERS, "each writer's error", within=3 * limit)  # noqa: B023
        written(replicas, 100)
    primary.do("still")
    replicas.judge()
    assert max(line.get("seconds", 0) for line in replicas.said()) < 2 * limit + 1
    until(lambda: secondary.do("read")["counts"] == primary.do("read")["counts"], "the secondary to have all")
    assert secondary.do("promote", token=2)["records"] == 0


@pytest.mark.stores("sqlite", "postgresql")
@pytest.mark.timeout(1800)
async def test_s07_a_promotion_reads_a_thousand_records_at_most(place: Place) -> None:
    keys, together = count(1_000_000, 20_000), 1000
    async with opened(place.url, namespace="faults", timeout=LONG) as database:
        async with State(database, "counter", "0") as first:
            await first.promote(1)
            counts = first.dictionary("counts")
            for at in range(0, keys, together):
                async with first.transaction(timeout=LONG) as tx:
                    for number in range(at, at + together):
                        await counts.set(tx, f"{number:08}", number)
            for number in range(2 * AHEAD + AHEAD // 2):  # one record each
                async with first.transaction(timeout=LONG) as tx:
                    await counts.set(tx, f"{number:08}", "new")
        async with State(database, "counter", "0") as second:
            await second.promote(2)
            assert second.opened is not None
            assert second.promoted is not None
            assert second.opened.keys == keys
            assert second.opened.records + second.promoted.records <= AHEAD
            left = await second._partition.after((await second._partition.head()).checkpoint, 100_000)
            assert len(left) == second.opened.records, "they were really counted"
            counts = second.dictionary("counts")
            assert [counts.read(f"{number:08}") for number in (0, 2 * AHEAD, keys - 1)] == ["new", "new", keys - 1]
