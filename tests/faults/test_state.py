"""S01 to S05, S07, S08: the state of a partition, whose replicas are frozen, killed and demoted while they write."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import Counter
from functools import partial
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
    from tests.faults.kit.replicas import ReplicaProcess

WRITERS = 20


@pytest.fixture
def replicas(place: Place, tmp_path: Path) -> Iterator[Replicas]:
    with Replicas(place, tmp_path) as made:
        yield made


def written(replicas: Replicas, more: int) -> None:
    """Wait until so many more transactions were acknowledged."""
    before = acknowledged(replicas)
    until(lambda: acknowledged(replicas) >= before + more, f"{more} more transactions")


def acknowledged(replicas: Replicas) -> int:
    """How many transactions that write were acknowledged so far."""
    return sum(line.get("outcome") == "ok" for line in replicas.said())


def errors(replicas: Replicas) -> int:
    """How many transactions have ended with an error so far."""
    return sum(line.get("outcome", "ok") != "ok" for line in replicas.said())


@pytest.mark.stores("sqlite", "postgresql")
def test_s01_what_a_dead_primary_did_not_answer_is_asked_again_and_applied_once(replicas: Replicas) -> None:
    """It dies in the moment between the log's answer and its own."""
    dice, token = random.Random(1), 1
    primary = replicas.start()
    primary.do("promote", token=token)
    for _ in range(count(20, 2)):
        successor = replicas.start()
        primary.do("stream", writers=WRITERS)
        written(replicas, 50)

        def is_frozen_before_it_answers(primary: ReplicaProcess, successor: ReplicaProcess) -> bool:
            primary.resume()
            pass_by(dice.random() * 0.02)
            primary.freeze()
            return not set(successor.do("landed")).isdisjoint(replicas.unanswered())

        until(partial(is_frozen_before_it_answers, primary, successor), "what is in the log and was not answered")
        primary.kill()
        token += 1
        successor.do("promote", token=token)
        successor.do("repeat", names=replicas.unanswered())
        assert not replicas.unanswered()
        replicas.judge()
        primary = successor


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
    for _ in range(count(50, 12)):
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


@pytest.mark.stores("sqlite", "postgresql")
def test_s04_a_secondary_that_was_frozen_says_how_old_it_is(replicas: Replicas) -> None:
    """It is frozen in the middle of a look, and what it learns as it goes on is old news."""
    dice = random.Random(5)
    primary, secondary = replicas.start(), replicas.start()
    primary.do("promote", token=1)
    primary.do("stream", writers=4)
    written(replicas, 20)
    for more in (*[20] * count(60, 12), 700):
        if more > 20:  # at last more records than one look takes in
            primary.do("still")
            primary.do("stream", writers=1)
        pass_by(dice.random() * 0.02)
        secondary.freeze()
        written(replicas, more)
        secondary.say("reads", times=30 if more == 20 else 300)
        secondary.resume()
        found = secondary.answer()
        times = sorted(line["answered"] for line in replicas.written() if line.get("outcome") == "ok")
        assert all(look["is_whole"] for look in found), "it is a prefix of what was committed, of whole transactions"
        assert [look["all"] for look in found] == sorted(look["all"] for look in found), "which only grows"
        for look in found:
            certain = bisect_left(times, look["at"] - look["staleness"])
            assert look["all"] >= certain, f"it is older than the {look['staleness']:.3f} s that it says"
    primary.do("still")
    told = replicas.judge()
    assert secondary.do("reads", times=1)[0]["all"] <= told["ok"], "nor has it more than was committed"


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
    assert max(line["answered"] - line["asked"] for line in replicas.written() if "asked" in line) < 2 * limit + 1
    until(lambda: secondary.do("read")["counts"] == primary.do("read")["counts"], "the secondary to have all")
    assert secondary.do("promote", token=2)["records"] == 0


@pytest.mark.stores("sqlite", "postgresql")
def test_s08_histories_are_linearizable_though_primaries_are_frozen_and_overtaken(replicas: Replicas) -> None:
    """Nobody ends the old one, as where a process is not Locum's: when it goes on, it believes to be the primary."""
    dice, token = random.Random(8), 1
    primary = replicas.start()
    primary.do("promote", token=token)
    primary.do("add", times=41)
    for _ in range(count(30, 3)):
        successor = replicas.start()
        primary.do("stream", writers=0, readers=4)  # a file's writer would be frozen in the middle: see S02
        pass_by(dice.random() * 0.05)
        primary.freeze()
        token += 1
        successor.do("promote", token=token)
        successor.do("stream", writers=4, readers=4)
        written(replicas, 50)
        primary.resume()
        written(replicas, 50)
        primary.do("still")
        successor.do("still")
        replicas.judge_history()
        primary.kill()
        primary = successor
    assert replicas.judge()["ok"] >= 100


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
