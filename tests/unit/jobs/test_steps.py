"""What is done about one job at one moment, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from locum.errors import ConfigurationError, ScheduleError
from locum.jobs.begins import begin
from locum.jobs.declaring import job_of, trigger_of
from locum.jobs.job import Job, instant, micros
from locum.jobs.overlap import Overlap
from locum.jobs.steps import READY, RUNNING, JobRow, LiveRun, Step, Unfinished, decide
from locum.jobs.triggers import Every

SECOND = 1_000_000
NOON = micros(datetime(2026, 1, 1, 12, tzinfo=UTC))


async def body() -> None: ...


def job(**options: Any) -> Job:
    return Job(**{"name": "sum", "body": body, "trigger": Every(60), **options})


def row(of: Job, **values: Any) -> JobRow:
    known: dict[str, Any] = {
        "name": of.name,
        "trigger_text": of.trigger_text,
        "next_at": NOON,
        "decided_until": NOON - 60 * SECOND,
        "token": 7,
        "paused": False,
        "checkpoint": None,
    }
    return JobRow(**{**known, **values})


def live(state: str, *, slot: int | None = None, fire_at: int = NOON - 60 * SECOND, **values: Any) -> LiveRun:
    known: dict[str, Any] = {"nonce": "", "attempt": 1, "failures": 0, "losses": 0, "token": 3, "params": "{}"}
    return LiveRun(
        id="0" * 32,
        job="sum",
        fire_at=fire_at,
        state=state,
        slot=slot,
        **{**known, "not_before": fire_at, **values},
    )


def done(of: Job, *runs: LiveRun, now: int = NOON + SECOND, room: int = 10, **values: Any) -> Step:
    scheduled = sum(run.state == READY and not run.nonce for run in runs)
    found = decide(of, row(of, **values), Unfinished(list(runs), scheduled=scheduled), now=now)
    begin([(of, found)], now=now, room=room, keys={}, going={})
    return found


def test_what_is_due_is_made_begins_under_the_next_token_and_the_next_time_is_planned() -> None:
    found = done(job())
    assert [(run.fire_at, run.token, run.slot, run.state) for run in found.begun] == [(NOON, 8, 0, RUNNING)]
    assert found.made == found.begun
    assert (found.next_at, found.decided_until, found.token) == (NOON + 60 * SECOND, NOON, 8)


def test_nothing_is_early() -> None:
    assert done(job(), now=NOON - 1) == Step(NOON, NOON - 60 * SECOND, 7)


def test_without_room_it_is_made_and_waits_for_others() -> None:
    found = done(job(), room=0)
    assert [run.state for run in found.made] == [READY]
    assert found.begun == []


def test_what_was_decided_is_never_made_again() -> None:
    found = done(job(), decided_until=NOON)
    assert (found.made, found.begun, found.left_out) == ([], [], [])
    assert found.next_at == NOON + 60 * SECOND


def test_a_job_whose_trigger_is_another_here_is_left_to_those_who_know_it() -> None:
    assert done(job(), trigger_text="every 5 s").made == []


def test_a_paused_job_makes_nothing_and_what_waits_of_it_begins() -> None:
    found = done(job(), live(READY, nonce="manual/1"), paused=True)
    assert found.made == []
    assert len(found.begun) == 1


def test_a_time_to_be_worked_out_is_later_than_now_and_than_what_was_decided() -> None:
    found = done(job(), next_at=0)
    assert (found.made, found.next_at) == ([], NOON + 60 * SECOND)
    assert done(job(), next_at=0, decided_until=NOON + 600 * SECOND).next_at == NOON + 660 * SECOND


def test_jitter_moves_the_beginning_and_not_the_time() -> None:
    one = job(jitter=30.0)
    found = done(one)
    assert [run.fire_at for run in found.made] == [NOON]
    waits = found.made[0].not_before - NOON
    assert 0 < waits <= 30 * SECOND
    assert done(one).made[0].not_before == found.made[0].not_before  # whoever asks
    assert found.begun == []
    later = done(one, *found.made, now=NOON + waits, next_at=NOON + 60 * SECOND, decided_until=NOON)
    assert [run.fire_at for run in later.begun] == [NOON]


def test_skip_leaves_out_and_says_so() -> None:
    found = done(job(), live(RUNNING, slot=0))
    assert found.made == []
    assert [(run.fire_at, why) for run, why in found.left_out] == [
        (NOON, "left out, by overlap=skip: another run is not over")
    ]
    assert found.decided_until == NOON


def test_one_waits_for_the_one_that_runs() -> None:
    one = job(overlap=Overlap(policy="buffer_one"))
    found = done(one, live(RUNNING, slot=0))
    assert (len(found.made), found.begun, found.left_out) == (1, [], [])
    full = done(one, live(RUNNING, slot=0), live(READY))
    assert (full.made, len(full.left_out)) == ([], 1)


def test_the_newest_replaces_what_runs_and_what_waits() -> None:
    one = job(overlap=Overlap(policy="cancel_running"))
    running, waiting = live(RUNNING, slot=0), live(READY, not_before=NOON + 60 * SECOND)
    found = done(one, running, waiting)
    assert found.cancelled == [running]
    assert [run for run, _ in found.left_out] == [waiting]
    assert (len(found.made), found.begun) == (1, [])


def test_several_at_once_have_a_place_each() -> None:
    one = job(overlap=Overlap(policy="allow", most=3))
    found = done(one, live(RUNNING, slot=0), live(RUNNING, slot=2))
    assert [run.slot for run in found.begun] == [1]
    assert done(one, *(live(RUNNING, slot=slot) for slot in range(3))).made == []


def test_a_run_whose_executor_was_lost_goes_first_and_into_its_own_place() -> None:
    one = job(overlap=Overlap(policy="buffer_all"))
    lost = live(READY, slot=0, attempt=2, losses=1)
    found = done(one, live(READY, fire_at=NOON - 120 * SECOND), lost)
    assert found.begun == [lost]
    assert (lost.slot, lost.token) == (0, 8)


def test_what_was_asked_for_waits_for_a_place_too() -> None:
    asked = live(READY, nonce="manual/1")
    assert done(job(trigger=None), live(RUNNING, slot=0), asked, next_at=None).begun == []
    assert done(job(trigger=None), asked, next_at=None).begun == [asked]


def test_what_has_not_begun_in_time_is_left_out() -> None:
    found = done(job(begin_within=10.0, overlap=Overlap(policy="buffer_all")), live(READY), next_at=NOON + 60 * SECOND)
    assert [why for _, why in found.left_out] == ["not begun within 10 s"]
    assert found.begun == []


def test_params_know_the_time() -> None:
    one = job(params={"day": "{fire_at:%Y-%m-%d}", "many": 3})
    assert done(one).made[0].params == '{"day": "2026-01-01", "many": 3}'


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"params": {"day": "{today}"}}, "its params cannot be: KeyError"),
        ({"params": {"day": object()}}, "its params cannot be: TypeError"),
        ({"limit": 0.0}, "limit=0.0 must be"),
        ({"jitter": -1.0}, "jitter=-1.0 must be"),
        ({"overlap": "allow"}, "must say how many"),
        ({"overlap": "some"}, "overlap='some' is not known"),
        ({"misfire": "some"}, "misfire='some' is not known"),
        ({"retries": 3}, "options that nobody knows: retries"),
        ({"name": "a/b"}, "the name of a job"),
    ],
)
def test_j10_what_cannot_be_is_told_when_it_is_declared(options: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        job_of(options.pop("name", "sum"), body, None, options)


def test_a_plain_function_cannot_be_ended_and_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is a plain def"):
        job_of("sum", lambda: None, None, {})


def test_a_schedule_says_when_in_one_way() -> None:
    for given in ({}, {"cron": "* * * * *", "every": 5.0}):
        whole: Any = {"cron": None, "tz": "UTC", "gap": "after", "every": None, "at": None, **given}
        with pytest.raises(ScheduleError, match="by one of cron=, every= and at="):
            trigger_of("sum", **whole)


def test_instants_come_back_as_they_were() -> None:
    at = datetime(2026, 3, 8, 7, 0, 0, 123456, tzinfo=UTC)
    assert instant(micros(at)) == at
    assert micros(at + timedelta(seconds=1)) - micros(at) == SECOND
