"""From findings to promises, and from promises to the exit code."""

from __future__ import annotations

from dataclasses import replace

import pytest

from locum import exit_codes
from locum.cli.doctor import Report
from locum.cli.examination.finding import Finding, Level
from locum.cli.examination.store import Neighbour
from locum.cli.examination.verdict import promises

IDS = (
    *("platform", "stopped", "held", "parent", "pidfd", "subreaper", "proc", "starts", "hidepid"),
    *("signals", "files", "inotify", "clocksource", "rate"),
)
OF_STORE = ("store", "budget", "guarantees", "machines", "file-system", "space", "rights")


def findings(*ids: str, **levels: Level) -> list[Finding]:
    marked = {name.replace("_", "-"): level for name, level in levels.items()}
    return [Finding(one, one, marked.get(one, Level.HOLDS), f"fact of {one}") for one in ids]


def code(found: list[Finding], *, unreachable: bool = False) -> int:
    return Report(promises=promises(found), unreachable=unreachable).code


def test_where_all_holds_only_what_is_detached_is_weaker() -> None:
    found = promises(findings(*IDS, *OF_STORE), is_init=False)
    assert {one.level for one in found} == {Level.HOLDS, Level.WEAKER, Level.NOTE}
    (weaker,) = [one for one in found if one.level is Level.WEAKER]
    assert "setsid" in weaker.text
    assert not [one for one in promises(findings(*IDS), is_init=True) if one.level is Level.WEAKER]


@pytest.mark.parametrize("level", [Level.FAILS, Level.UNKNOWN])
@pytest.mark.parametrize(
    "one",
    sorted({*IDS, *OF_STORE} - {"hidepid", "inotify", "clocksource", "store", "machines"}),
)
def test_whatever_fails_breaks_a_promise_and_is_named_there(one: str, level: Level) -> None:
    found = findings(*IDS, *OF_STORE, **{one: level})
    broken = [promise for promise in promises(found) if promise.level is level]
    assert broken
    assert all(f"fact of {one}" in promise.why for promise in broken)
    assert code(found) == exit_codes.SERVICE_FAILED


@pytest.mark.parametrize("one", ["hidepid", "clocksource", "guarantees", "file-system"])
def test_what_is_weaker_is_told_and_is_no_failure(one: str) -> None:
    found = findings(*IDS, *OF_STORE, **{one: Level.WEAKER})
    assert any(f"fact of {one}" in promise.why for promise in promises(found))
    assert code(found) == exit_codes.CLEAN


def test_a_store_that_does_not_answer_promises_nothing_and_has_a_code_of_its_own() -> None:
    found = findings(*IDS, "store", "file-system", "space", "rights", store=Level.FAILS, rights=Level.FAILS)
    assert code(found, unreachable=True) == exit_codes.STORE_UNAVAILABLE
    assert code([replace(one, level=Level.FAILS) for one in found], unreachable=True) == exit_codes.SERVICE_FAILED


def test_a_store_that_is_yet_to_be_made_needs_rights() -> None:
    place = ("file-system", "space", "rights")
    assert code(findings(*IDS, *place)) == exit_codes.CLEAN
    assert code(findings(*IDS, *place, rights=Level.FAILS)) == exit_codes.SERVICE_FAILED


def test_neighbours_that_are_only_observed_or_only_cancelled_are_named() -> None:
    seen = Neighbour("web-1", "web", "kill", 6.0, True, "witnessed (milliseconds)")
    far = Neighbour("web-2", "other", "kill", 9.0, False, "observed (9 s): another machine")
    mild = Neighbour("app-1", "web", "cancel", 6.0, True, "witnessed (milliseconds)")
    before = len(promises(findings(*IDS)))
    found = promises(findings(*IDS), [seen, far, mild])
    assert len(found) == before + 2
    said = " ".join(one.why for one in found if one.level is Level.WEAKER)
    assert "web-2: observed" in said
    assert "(9 s)" in said
    assert "app-1: only cancelled" in said
    alone = promises(findings(*IDS), [seen])
    assert sum(one.level is Level.WEAKER for one in alone) == sum(
        one.level is Level.WEAKER for one in promises(findings(*IDS))
    )
