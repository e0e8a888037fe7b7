"""`locum jobs`: what it shows, and what it has done by hand."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from locum import Host, Run, exit_codes
from locum.cli.main import main
from locum.cli.words import how_far
from locum.jobs.database import opened
from locum.jobs.finish import Finish
from locum.jobs.job import Job
from locum.jobs.triggers import Cron
from tests.unit.cli.kit import locum

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from locum.jobs.database import JobDatabase

APP = """
from locum import Host, Run

host = Host("billing")

@host.schedule(cron="30 2 * * *", tz="Europe/Paris")
async def settle(run: Run) -> None: ...
"""


async def body() -> None: ...


SETTLE = Job(name="settle", body=body, trigger=Cron("30 2 * * *", tz="Europe/Paris"))


class Desk:
    """Jobs of a folder, by hand."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.url, self._capsys = f"sqlite:///{folder}/billing.locum-jobs.db", capsys

    def __call__(self, *arguments: str, code: int = exit_codes.CLEAN) -> str:
        """What a command says."""
        assert main(["jobs", *arguments, "--job-store", self.url, "--namespace", "billing"]) == code
        said = self._capsys.readouterr()
        return said.err if code else said.out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    def do(self, work: Callable[[JobDatabase], Any]) -> Any:
        async def ask() -> Any:
            async with opened(self.url, namespace="billing") as database:
                return await database.transact(work(database))

        return asyncio.run(ask())

    def take(self) -> Any:
        """What an instance would begin."""
        found = self.do(
            lambda at: lambda db: at.ledger.take(db, {"settle": SETTLE}, session="a" * 32, instance="web-1", room=9)
        )
        return [run for run, _ in found.runs]

    def fail(self, run: Any) -> None:
        end = Finish(run.id, run.token, "dead", "ValueError: no such day")
        assert self.do(lambda at: lambda db: at.ledger.finish(db, [end], session="a" * 32)) == frozenset()


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    desk = Desk(tmp_path, capsys)
    desk.do(lambda at: lambda db: at.ledger.declare(db, [SETTLE]))
    return desk


def test_a_job_is_listed_run_and_its_failure_redriven(desk: Desk) -> None:
    assert desk.take() == []
    (listed,) = desk.json("list")
    assert (listed["name"], listed["trigger"]) == ("settle", "cron 30 2 * * * in Europe/Paris")
    assert listed["next_at"] is not None
    run = desk("run", "settle", "--nonce", "ticket-1", "--params", '{"fail": true}').strip()
    assert desk("run", "settle", "--nonce", "ticket-1").strip() == run
    (waiting,) = desk.json("show", "settle")
    assert (waiting["id"], waiting["state"]) == (run, "ready")
    (taken,) = desk.take()
    assert taken.params == '{"fail": true}'
    assert "running  " in desk("show")
    desk.fail(taken)
    assert desk("show") == "Nothing waits or runs.\n"
    (dead,) = desk.json("dead")
    assert (dead["id"], dead["outcome"], dead["error"]) == (run, "dead", "ValueError: no such day")
    assert desk("redrive", run) == f"{run} is tried again.\n"
    assert desk("dead") == "There is no dead letter.\n"
    assert desk("cancel", run) == f"{run} is to end.\n"
    assert [one["outcome"] for one in desk.json("history", "settle")] == ["cancelled"]


def test_a_dead_letter_is_let_go_of(desk: Desk) -> None:
    assert desk.take() == []
    run = desk("run", "settle").strip()
    (taken,) = desk.take()
    desk.fail(taken)
    assert desk("discard", run) == f"{run} is no dead letter any more.\n"
    assert desk("dead") == "There is no dead letter.\n"
    (record,) = desk.json("history")
    assert (record["id"], record["outcome"], record["error"]) == (run, "cancelled", "ValueError: no such day")
    assert "knows no dead letter" in desk("discard", run, code=exit_codes.SERVICE_FAILED)


def test_slices_are_shown_where_they_are_wanted(desk: Desk) -> None:
    assert desk.take() == []
    run = desk("run", "settle").strip()
    (taken,) = desk.take()
    cut = Finish(taken.id, taken.token, "cut", parts=("{}", "{}"))
    assert desk.do(lambda at: lambda db: at.ledger.finish(db, [cut], session="a" * 32)) == frozenset()
    assert "#" not in desk("show")
    assert all(f"settle #{part}" in desk("show", "--slices") for part in range(2))
    first, second = desk.take()
    desk.fail(first)
    assert "settle #0" in desk("dead")
    assert desk("history") == "Nothing is over yet.\n"
    desk.fail(second)
    assert [(one["id"] == run, one["part"]) for one in desk.json("history")] == [(True, None)]
    assert {one["part"] for one in desk.json("history", "--slices")} == {None, 0, 1}


def test_what_is_tried_again_later_says_when(desk: Desk) -> None:
    assert desk.take() == []
    desk("run", "settle")
    (taken,) = desk.take()
    again = Finish(taken.id, taken.token, "again", "ValueError: no such day", pause=3600.0)
    assert desk.do(lambda at: lambda db: at.ledger.finish(db, [again], session="a" * 32)) == frozenset()
    assert "ready at 20" in desk("show")


def test_a_pause_says_why_and_by_whom(desk: Desk) -> None:
    desk("pause", "settle", "--reason", "the bank migrates", "--author", "ada")
    assert "the bank migrates (ada)" in desk("list")
    desk("resume", "settle")
    assert "ada" not in desk("list")


def test_what_is_not_there_is_told(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "knows no job 'other'" in desk("run", "other", code=exit_codes.SERVICE_FAILED)
    assert "knows no dead letter" in desk("redrive", "0" * 32, code=exit_codes.SERVICE_FAILED)
    for looks in ("show", "history", "dead"):
        assert "this job database knows no job 'other'" in desk(looks, "other", code=exit_codes.SERVICE_FAILED)
    assert "knows no run 1: `locum jobs show` has those" in desk("cancel", "1", code=exit_codes.SERVICE_FAILED)
    assert "no host is named" in desk("next", "settle", code=exit_codes.BAD_CONFIGURATION)
    assert "--params is no JSON" in desk("run", "settle", "--params", "{", code=exit_codes.USAGE)
    place = ["--job-store", f"sqlite:///{tmp_path}/none.db", "--namespace", "billing"]
    assert main(["jobs", "list", *place]) == exit_codes.STORE_UNAVAILABLE
    assert "there is no job database yet" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()


def test_the_times_of_a_job_are_known_from_its_host(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    times = locum(tmp_path, "jobs", "next", "settle", "--app", "app:host", "-n", "2", "--json")
    assert times.code == exit_codes.CLEAN
    assert len(json.loads(times.out)) == 2
    again = ["jobs", "backfill", "settle", "2020-03-28", "2020-03-31", "--app", "app:host"]
    assert locum(tmp_path, *again).out == "3 runs of settle are new.\n"
    assert locum(tmp_path, *again).out == "0 runs of settle are new.\n"
    assert [one["fire_at"] for one in desk.json("show")] == [
        "2020-03-28T01:30:00+00:00",
        "2020-03-29T01:00:00+00:00",
        "2020-03-30T00:30:00+00:00",
    ]


async def test_the_status_shows_how_far_runs_are_and_a_run_is_waited_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, go_on = f"sqlite:///{tmp_path}/billing.db", asyncio.Event()
    host = Host("billing", store=store)

    @host.job
    async def work(run: Run) -> None:
        run.progress(3, 12, "the third of them")
        await go_on.wait()
        if run.params.get("fail"):
            raise ValueError("no such day")

    async def said(*arguments: str, code: int = exit_codes.CLEAN) -> str:
        assert await asyncio.to_thread(main, [*arguments, "--namespace", "billing"]) == code
        told = capsys.readouterr()
        return told.err if code else told.out

    by_hand = ("jobs", "run", "work", "--job-store", f"sqlite:///{tmp_path}/billing-jobs.db")
    async with host.lifespan():
        assert json.loads(await said("status", "--store", store, "--json"))["jobs"]["under_way"] == []
        run = await host.jobs.run_now("work")
        async with asyncio.timeout(60):
            while True:
                jobs = json.loads(await said("status", "--store", store, "--json"))["jobs"]
                if jobs["under_way"] and jobs["under_way"][0]["done"] is not None:
                    break
        (one,) = jobs["under_way"]
        assert (one["job"], one["id"], one["state"], one["done"], one["of"]) == ("work", run, "running", 3, 12)
        assert one["note"] == "the third of them"
        assert "███░░░░░░░░░ 3/12" in await said("status", "--store", store)
        go_on.set()
        assert (await said(*by_hand, "--wait")).splitlines()[1:] == ["succeeded"]
        failed = await said(*by_hand, "--wait", "--params", '{"fail": true}', code=exit_codes.SERVICE_FAILED)
        assert failed == "dead: ValueError: no such day\n"


def test_how_far_something_is_in_words() -> None:
    assert how_far(43, 100, 4.1, 13.9) == "█████░░░░░░░ 43/100, 4.1/s, 14 s left"
    assert how_far(0, 4, None, None) == "░░░░░░░░░░░░ 0/4"
    assert how_far(4, 4, 0.02, 0.0) == "████████████ 4/4, 1.2/min"
    assert how_far(0, 0, None, None) == "████████████ 0/0"
    assert how_far(1234567, None, 0.001, None) == "1,234,567, 3.6/h"
    assert how_far(0.5, 1, None, None) == "██████░░░░░░ 0.5/1"


def test_an_orphan_is_shown_and_removed_and_what_is_declared_is_not(desk: Desk) -> None:
    desk.do(lambda at: lambda db: at.ledger.enlist(db, ["settle"], session="a" * 32, instance="web-1"))
    assert "web-1" in desk("list")
    assert "is declared by web-1" in desk("remove", "settle", code=exit_codes.BAD_CONFIGURATION)
    desk.do(lambda at: lambda db: at.ledger.forget(db, ["a" * 32]))
    assert "orphaned" in desk("list")
    assert desk("remove", "settle") == "settle is removed.\n"
    assert desk.json("list") == []
