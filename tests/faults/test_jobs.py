"""J01 to J11: scheduled times fire once whoever is there, and a run goes on although its executor is lost."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from locum.jobs.job import micros
from tests.faults.kit.cluster import NEEDS_UNSHARE, PID_NAMESPACE
from tests.faults.kit.processes import descendants, inner_pid, send, state
from tests.faults.kit.runs import FULL
from tests.faults.kit.waiting import LONG, pass_by, until
from tests.faults.kit.wallclocks import NEEDS_LIBFAKETIME
from tests.faults.kit.watched import SECOND, JumpingWatched, Watched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.kit.places import Place

EVERYWHERE = pytest.mark.stores("sqlite", "postgresql")
THOROUGHLY = pytest.mark.stores("sqlite", "postgresql", thorough=True)


@pytest.fixture
def watched(request: pytest.FixtureRequest, tmp_path: Path, place: Place) -> Iterator[Watched]:
    mark = request.node.get_closest_marker("cluster")
    given = {"app": "schedules", **(mark.kwargs if mark else {})}
    with Watched(tmp_path, place=place, **given) as cluster:
        yield cluster


def judge_ticks(watched: Watched, *, lost: bool = False) -> None:
    """One record for each second of each job, its body under that record's token, and nothing early.

    Args:
        watched: The instances, which have ended.
        lost: Whether executors were lost: then a body may have been begun more than once, under a token each.
    """
    records = [one for one in watched.records() if one.job.startswith("tick-")]
    bodies = watched.notes("tick")
    assert {one.outcome for one in records} == {"succeeded"}
    times = defaultdict(list)
    for one in records:
        times[one.job].append(micros(one.fire_at))
    for job, fired in times.items():
        assert fired == list(range(fired[0], fired[-1] + 1, SECOND)), f"{job} fired at {fired}"
    keys = Counter((one["job"], one["fire_at"], one["token"]) for one in bodies)
    assert max(keys.values()) == 1, f"bodies ran twice under one token: {keys.most_common(3)}"
    if not lost:
        twice = Counter((one["job"], one["fire_at"]) for one in bodies).most_common(3)
        assert twice[0][1] == 1, f"bodies ran twice: {twice}"
    done = {(one.job, micros(one.fire_at), one.token) for one in records}
    assert done <= keys.keys(), "a run is said to have succeeded whose body nobody has seen"
    assert lost or done == keys.keys(), "a body has run of which there is no record"
    early = [
        one for one in bodies if one["at"] < one["fire_at"] - 20_000
    ]  # two readings of a clock, and their distance
    assert not early, f"a body began before its time: {early[:3]}"


MANY, SECONDS, INSTANCES = (200, 60, 5) if FULL else (15, 6, 3)


@EVERYWHERE
@pytest.mark.timeout(600)
@pytest.mark.cluster(environment={"FAULTS_SCHEDULES": str(MANY)})
def test_j01_each_time_fires_once_whoever_is_there(watched: Watched) -> None:
    watched.ready(INSTANCES)

    def all_have_fired() -> bool:
        fired = Counter(one["job"] for one in watched.notes("tick"))
        return len(fired) == MANY and min(fired.values()) >= SECONDS

    until(all_have_fired, f"{SECONDS} times of each job to fire", within=SECONDS + 2 * LONG, pause=SECONDS / 60)
    watched.end()
    judge_ticks(watched)
    assert len({one["instance"] for one in watched.notes("tick")}) > 1, "one instance has done it all"


OPERATIONS = range(1, 9) if FULL else (3, 5)  # a run is made in 3, and ended in 3, or 2 on a server


@EVERYWHERE
@pytest.mark.timeout(600)
@pytest.mark.cluster(app="crashing", environment={"FAULTS_SCHEDULES": "1"})
def test_j02_a_crash_after_each_operation_of_a_run(watched: Watched) -> None:
    """Of what makes a run, claims it and ends it: there is one record for each time, and each time has run."""
    watched.ready(2)
    for number in OPERATIONS:
        watched.die_after(number)
        gone_on = len(watched.notes("tick")) + 2
        until(lambda: len(watched.notes("tick")) >= gone_on, "the ticks to go on")  # noqa: B023 - at once
    watched.end()
    judge_ticks(watched, lost=True)
    times = Counter((one["job"], one["fire_at"]) for one in watched.notes("tick"))
    twice = sum(many > 1 for many in times.values())
    died = re.sub(r"\b\w+\.(?=job)", "", (watched.folder / "died").read_text()).splitlines()  # of whatever schema
    begun = [what for what in died if not what.startswith(("INSERT INTO job_runs", "UPDATE"))]
    assert len(died) >= len(OPERATIONS)
    if FULL:  # of what makes a run and claims it, and of what ends it
        ended = (
            {"INSERT INTO job_history", "DELETE FROM job_runs"} if watched.place.name == "sqlite" else {"WITH gone AS"}
        )
        told = {"INSERT INTO job_runs", "UPDATE jobs SET", *ended, "COMMIT"}
        assert told <= set(died), f"nobody has died after {told - set(died)}"
    assert twice <= len(begun), f"{twice} times have run twice, of crashes after {died}"


@EVERYWHERE
@pytest.mark.parametrize("hurt", ["worker", "instance"])
@pytest.mark.cluster(environment={"FAULTS_SCHEDULES": "1"})
def test_j03_a_run_whose_executor_was_killed_goes_on_elsewhere_at_once(watched: Watched, hurt: str) -> None:
    """Well within the TTL: the end of the processes was witnessed. What else is scheduled fires on."""
    watched.ready(3)
    run = watched.ask("long")
    first = watched.began(run)
    executor = watched.by_name(first["instance"])
    pass_by(2.5)  # the others look for lost runs each second
    assert len(watched.notes("began")) == 1, "another has taken a run whose executor lives"
    hurt_at = time.time_ns() // 1000
    if hurt == "worker":
        send(watched.pids(executor).worker, 9)
    else:
        watched.kill(executor)
    second = watched.began(run, beyond=first["token"])
    assert second["at"] - hurt_at < 0.75 * watched.ttl * SECOND
    assert (second["attempt"], second["fire_at"]) == (2, first["fire_at"])
    watched.go_on()
    record = watched.over(run)
    assert (record.outcome, record.token, record.attempt) == ("succeeded", second["token"], 2)
    following = watched.ask("long")  # its place among the runs of its job is free again
    assert watched.over(following).outcome == "succeeded"
    assert [one["run"] for one in watched.notes("ended")] == [run, following]
    watched.end()
    judge_ticks(watched, lost=True)


@pytest.mark.parametrize("hurt", ["worker", "instance"])
def test_j03_a_body_in_a_process_ends_with_its_executor(watched: Watched, hurt: str) -> None:
    """And with what it has started, before another executor begins; the keeper sees to it, or whoever witnesses."""
    watched.ready(2)
    run = watched.ask("apart")
    first = watched.began(run)
    executor = watched.by_name(first["instance"])
    if hurt == "worker":
        send(watched.pids(executor).worker, 9)
    else:
        watched.kill(executor)
    second = watched.began(run, beyond=first["token"])
    assert [pid for pid in first["pids"] if state(pid) not in (None, "Z")] == []
    watched.go_on()
    assert watched.over(run).token == second["token"]
    assert [one["token"] for one in watched.notes("ended")] == [second["token"]]
    watched.end()
    assert [pid for pid in second["pids"] if state(pid) not in (None, "Z")] == []


@NEEDS_UNSHARE
@EVERYWHERE
@pytest.mark.cluster(ttl=6.0 if FULL else 3.0, environment={"FAULTS_SCHEDULES": "1"})
def test_j03_a_run_whose_machine_is_gone_goes_on_elsewhere_when_its_lease_is_over(watched: Watched) -> None:
    """Nobody can witness it: others wait for the TTL, on their own clocks, and for no longer than they must."""
    lost = watched.start(below=PID_NAMESPACE)
    run = watched.ask("long")
    first = watched.began(run)
    watched.ready(2)
    lost_at = time.time_ns() // 1000
    send(next(pid for pid in descendants(lost.process.pid) if inner_pid(pid) == 1), 9)
    second = watched.began(run, beyond=first["token"])
    waited = (second["at"] - lost_at) / SECOND
    assert waited > 0.6 * watched.ttl, "it was taken from one who may have been alive"
    assert not FULL or waited < 1.4 * watched.ttl
    watched.go_on()
    record = watched.over(run)
    assert (record.outcome, record.token, record.attempt) == ("succeeded", second["token"], 2)
    assert watched.over(watched.ask("long")).outcome == "succeeded", "its place was lost with it"
    watched.end()
    judge_ticks(watched, lost=True)


@EVERYWHERE
@pytest.mark.cluster(ttl=4.0, environment={"FAULTS_SCHEDULES": "1"})
def test_j04_a_frozen_executor_ends_nothing_when_it_goes_on(watched: Watched) -> None:
    """Nobody can witness it: others go on with its run when a whole TTL was silent, and it is refused afterwards."""
    watched.ready(3)
    run = watched.ask("long")
    first = watched.began(run)
    frozen = watched.freeze(watched.by_name(first["instance"]))
    frozen_at = time.time_ns() // 1000
    second = watched.began(run, beyond=first["token"])
    assert second["at"] - frozen_at > 0.4 * watched.ttl * SECOND, "it was taken from one who may have been alive"
    watched.go_on()
    record = watched.over(run)
    watched.resume(frozen)
    pass_by(watched.ttl / 2)  # several of its beats
    assert second["instance"] != first["instance"]
    assert (record.outcome, record.token) == ("succeeded", second["token"])
    assert [one["token"] for one in watched.notes("ended")] == [second["token"]]
    assert [one.token for one in watched.records("long")] == [second["token"]]
    watched.end()
    judge_ticks(watched, lost=True)


@pytest.fixture
def jumping(tmp_path: Path, place: Place) -> Iterator[JumpingWatched]:
    schedules = {"FAULTS_SCHEDULES": "3"}
    with JumpingWatched(tmp_path, app="schedules", place=place, ttl=4.0, environment=schedules) as cluster:
        yield cluster


@NEEDS_LIBFAKETIME
@EVERYWHERE
def test_j07_wall_clocks_jump_by_hours(jumping: JumpingWatched) -> None:
    """On a server its clock says what is due. A file has but theirs: nothing is doubled, and the steps are told."""
    jumping.ready(3)
    run = jumping.ask("long")
    jumping.began(run)
    until(lambda: len(jumping.notes("tick")) >= 6, "ticks by good clocks")
    jumping.begin_to_jump()
    if jumping.place.name == "sqlite":
        until(lambda: jumping.report().count("clock was set") >= 3, "the steps to be told")
        pass_by(jumping.ttl)
    else:  # as many as are due while a whole TTL passes
        before = len(jumping.notes("tick"))
        until(lambda: len(jumping.notes("tick")) >= before + 15, "ticks by bad clocks")
    assert len(jumping.notes("began")) == 1, "a run was taken from one who lives"
    jumping.go_on()
    assert jumping.over(run).attempt == 1
    if jumping.place.name == "sqlite":
        fired = Counter((one.job, one.fire_at) for one in jumping.records())
        bodies = Counter((one["job"], one["fire_at"]) for one in jumping.notes("tick"))
        assert max(fired.values()) == max(bodies.values()) == 1, "a time has fired twice"
        return
    jumping.end()
    judge_ticks(jumping)


PERIOD, LENGTH, ROUNDS = (5.0, 12.0, 6) if FULL else (0.5, 1.2, 4)
POLICIES = [("skip", 1), ("buffer_one", 1), ("buffer_all", 3), ("cancel_running", 1), ("allow", 2)]


@THOROUGHLY
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("policy", "most"), POLICIES)
def test_j08_a_body_that_takes_longer_than_its_period(tmp_path: Path, place: Place, policy: str, most: int) -> None:
    """With a kill in the middle of a body: as each policy says, before it and after it."""
    given = {
        "FAULTS_OVERLAP": policy,
        "FAULTS_MOST": str(most),
        "FAULTS_PERIOD": str(PERIOD),
        "FAULTS_LENGTH": str(LENGTH),
    }
    with Watched(tmp_path, app="schedules", place=place, environment=given) as watched:
        watched.ready(2)
        until(lambda: len(watched.notes("began")) >= 2, "two runs to begin", within=LONG + 4 * LENGTH)
        hurt = watched.notes("began")[-1]
        send(watched.pids(watched.by_name(hurt["instance"])).worker, 9)
        again = watched.began(hurt["run"], beyond=hurt["token"]) if policy != "cancel_running" else None
        done = len(watched.notes("began")) + ROUNDS
        until(lambda: len(watched.notes("began")) >= done, "the runs to go on", within=LONG + 2 * ROUNDS * LENGTH)
        watched.end()
        judge_overlaps(watched, policy, most, again)


def judge_overlaps(watched: Watched, policy: str, most: int, again: dict[str, Any] | None) -> None:
    """How many went at once, and what has become of the times that were due meanwhile."""
    began = sorted(watched.notes("began"), key=lambda one: int(one["at"]))
    ended = {one["token"]: one["at"] for one in watched.notes("ended")}
    assert len({one["token"] for one in began}) == len(began), "two bodies had one token"
    finished = [(one["at"], ended[one["token"]]) for one in began if one["token"] in ended]
    places = most if policy == "allow" else 1
    for begin, _ in finished:
        at_once = sum(other <= begin < end for other, end in finished)
        assert at_once <= places, f"{at_once} bodies went at once, where {places} may"
    records = watched.records("overlapping")
    identities = Counter(one.fire_at for one in records)
    assert max(identities.values()) == 1, "a time has two records"
    outcomes = Counter(one.outcome for one in records)
    why = {one.error for one in records if one.outcome == "skipped"}
    if policy == "cancel_running":
        assert outcomes["cancelled"] >= 2
        assert all(reason.startswith("replaced by a later run") for reason in why)
        return
    assert again is not None
    assert again["attempt"] == 2
    assert outcomes["succeeded"] >= 2
    assert outcomes["cancelled"] == 0
    assert outcomes["skipped"] >= 2, "more was due than could run, and nothing was left out"
    assert why == {f"left out, by overlap={policy}: another run is not over"}


SLICES, WAIT = (100, 0.5) if FULL else (100, 0.2)


@EVERYWHERE
@pytest.mark.cluster(app="slices", environment={"FAULTS_SLICES": str(SLICES), "FAULTS_LENGTH": str(WAIT)})
def test_j09_slices_are_pulled_by_whoever_is_there(watched: Watched) -> None:
    """One takes twenty times as long as the others; an instance is killed at half, and one comes."""
    watched.ready(2)
    run = watched.ask("wait")
    until(lambda: len(watched.notes("ended")) >= SLICES // 2, "half of the slices")
    slow = next(one for one in watched.notes("began") if one["part"] == 0)
    killed = next(instance for instance in watched.instances if instance.name != slow["instance"])
    watched.kill(killed)
    added = watched.start()
    record = watched.over(run)
    assert record.outcome == "succeeded"
    slices = [one for one in watched.records("wait", slices=True) if one.part is not None]
    assert sorted(one.part for one in slices if one.part is not None) == list(range(SLICES))
    assert {one.outcome for one in slices} == {"succeeded"}
    began, ended = watched.notes("began"), watched.notes("ended")
    assert len({one["token"] for one in began}) == len(began), "two bodies had one token"
    assert {one.token for one in slices} <= {one["token"] for one in ended}
    again = [one for one in began if one["attempt"] > 1]
    # what the killed one had claimed begins again, though its body may not have begun the first time
    assert SLICES <= len(began) <= SLICES + len(again)
    assert len(again) <= 5, "more was begun again than the one that was killed can have had"
    assert [one["what"] for one in watched.notes("planned") + watched.notes("completed")] == ["planned", "completed"]
    assert {one["instance"] for one in began} >= {slow["instance"], killed.name}
    if FULL:  # an ideal that two whole instances would need, of which one takes its time to come
        makespan = max(one["at"] for one in ended) - min(one["at"] for one in began)
        ideal = max((SLICES + 19) * WAIT / 10, 20 * WAIT) * SECOND
        assert makespan <= 1.25 * ideal
        assert added.name in {one["instance"] for one in began}


@pytest.mark.timeout(300)
def test_j10_a_body_that_kills_its_process_each_time_is_a_dead_letter_after_its_cap(watched: Watched) -> None:
    watched.ready(2)
    run = watched.ask("fatal")
    record = watched.over(run, within=8 * LONG)
    assert record.outcome == "dead"
    assert "its executor was lost 6 times" in record.error
    tokens = [one["token"] for one in watched.notes("began")]
    assert len(tokens) == 6
    assert tokens == sorted(set(tokens))


@pytest.mark.stores("sqlite", "postgresql", own=True)
@pytest.mark.cluster(ttl=2.0, environment={"FAULTS_SCHEDULES": "3"})
def test_j11_the_databases_are_away_for_three_ttls(watched: Watched) -> None:
    """No body goes on without a lease, no time is lost, and nothing is doubled when they come back."""
    watched.ready(3)
    run = watched.ask("long")
    first = watched.began(run)
    until(lambda: len(watched.notes("tick")) >= 6, "some ticks")
    with watched.all_away():
        pass_by(3 * watched.ttl)
        begun = len(watched.notes("began"))
        silent = len(watched.notes("tick"))
        pass_by(0.5 * watched.ttl)
        assert (len(watched.notes("began")), len(watched.notes("tick"))) == (begun, silent) == (1, silent)
        watched.go_on()
        pass_by(0.2)
        assert not watched.notes("ended"), "a body went on though its lease was over"
    second = watched.began(run, beyond=first["token"])
    record = watched.over(run)
    assert (record.outcome, record.token) == ("succeeded", second["token"])
    last = time.time_ns() // 1000
    until(
        lambda: len([one for one in watched.notes("tick") if one["fire_at"] > last]) >= 3, "the ticks to be up to date"
    )
    watched.end()
    judge_ticks(watched, lost=True)
    times = Counter((one["job"], one["fire_at"]) for one in watched.notes("tick"))
    again = sum(many > 1 for many in times.values())
    assert again <= 9, f"{again} of {len(times)} times ran twice: more than can have been running"
