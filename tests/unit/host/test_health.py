"""What a host's services show, judged: live, ready, active, standing by."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from locum import Host, Term
from locum.errors import ConfigurationError
from locum.host.health import Health, State
from locum.host.probes import answer, parse_address
from locum.host.runtime import Runtime
from locum.service import Mode, Stopping
from tests.unit.kit import ManualClock, instance, soon

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def made(clock: ManualClock, *, critical: dict[str, float] | None = None, **services: bool) -> Health:
    services = services or {"settle": True, "metrics": False}
    return Health("billing", "web-1", clock=clock, services=services, critical=critical or {})


def in_service(health: Health) -> Health:
    health.show("settle", Mode.PASSIVE)
    health.show("metrics", Mode.RUNNING)
    health.enter(State.READY)
    return health


def asked(health: Health, target: str) -> tuple[int, str]:
    found = answer(health, target)
    return found.status.value, found.body


def test_it_is_ready_when_everything_is_started_and_not_before(clock: ManualClock) -> None:
    health = made(clock)
    assert asked(health, "/livez") == (200, "live\n")
    code, text = asked(health, "/readyz")
    assert code == 503
    assert "web-1 is waiting for the store" in text
    health.enter(State.STARTING)
    health.show("metrics", Mode.RUNNING)
    assert asked(health, "/readyz") == (503, "web-1 is starting\nsettle is starting\n")
    assert asked(in_service(health), "/readyz") == (200, "ready\n")


def test_rejected_settings_are_shown_and_make_nobody_unready(clock: ManualClock) -> None:
    health = in_service(made(clock))
    health.settings_read("locum.ttl='soon' is no number of seconds", ["locum.store"])
    shown = json.loads(asked(health, "/health")[1])
    assert shown["settings"] == {
        "rejected": "locum.ttl='soon' is no number of seconds",
        "at_next_start": ["locum.store"],
    }
    assert (shown["ready"], shown["live"], shown["reasons"]) == (True, True, [])
    assert health.status() == "passive; its newest settings were not taken over"
    health.settings_read("", [])
    assert json.loads(asked(health, "/health")[1])["settings"] == {"rejected": None, "at_next_start": []}
    assert health.status() == "passive"


@pytest.mark.parametrize("mode", [Mode.BACKOFF, Mode.STUCK, Mode.STARTING, Mode.STOPPING, Mode.STOPPED])
def test_a_service_in_trouble_makes_it_unready_and_not_dead(clock: ManualClock, mode: Mode) -> None:
    health = in_service(made(clock))
    health.show("metrics", mode)
    assert asked(health, "/readyz") == (503, f"metrics is {mode.value}\n")
    assert health.is_live


@pytest.mark.parametrize("mode", [Mode.RUNNING, Mode.PASSIVE, Mode.ACTIVE, Mode.COMPLETED])
def test_a_service_in_its_role_is_ready(clock: ManualClock, mode: Mode) -> None:
    health = in_service(made(clock))
    health.show("settle", mode, 7)
    assert health.is_ready


def test_a_stop_makes_it_unready_at_once_and_is_not_taken_back(clock: ManualClock) -> None:
    health = in_service(made(clock))
    health.enter(State.STOPPING)
    health.enter(State.READY)
    assert asked(health, "/readyz") == (503, "web-1 is stopping\n")
    assert health.is_live


def test_a_store_that_is_away_makes_it_neither_dead_nor_unready_but_no_standby(clock: ManualClock) -> None:
    health = in_service(made(clock))
    assert asked(health, "/standby") == (200, "standby\n")
    health.lost_store(lost=True)
    assert health.is_live
    assert health.is_ready
    assert asked(health, "/standby")[0] == 503
    assert health.picture()["store"] == "lost"
    health.lost_store(lost=False)
    assert asked(health, "/standby")[0] == 200


async def test_a_critical_service_that_does_not_beat_is_told(clock: ManualClock) -> None:
    health = in_service(made(clock, critical={"metrics": 5.0}))
    stopping = Stopping("metrics", clock=clock)
    health.began([stopping])
    clock.pass_by(4.9)
    assert health.is_live
    stopping.beat()
    clock.pass_by(4.9)
    assert health.is_live
    clock.pass_by(0.2)
    assert asked(health, "/livez") == (503, "metrics has not beaten for 5.1 s, and 5 s are its limit\n")
    assert not health.is_ready
    async for _ in stopping.every(1.0):
        break  # a turn is a beat
    assert health.is_live


def test_what_is_not_critical_may_be_silent(clock: ManualClock) -> None:
    health = in_service(made(clock))
    clock.pass_by(1e6)
    assert health.is_live


@pytest.mark.parametrize("mode", [Mode.STARTING, Mode.BACKOFF, Mode.PASSIVE, Mode.COMPLETED, Mode.STOPPING])
def test_who_does_not_work_need_not_beat(clock: ManualClock, mode: Mode) -> None:
    health = in_service(made(clock, critical={"settle": 5.0}))
    health.show("settle", mode)
    clock.pass_by(1e6)
    assert health.is_live


def test_a_body_that_begins_has_its_whole_time(clock: ManualClock) -> None:
    health = in_service(made(clock, critical={"settle": 5.0}))
    clock.pass_by(1e6)
    health.show("settle", Mode.ACTIVE, 3)
    clock.pass_by(4.9)
    assert health.is_live


def test_a_critical_body_that_outlived_its_term_is_no_life(clock: ManualClock) -> None:
    health = in_service(made(clock, critical={"settle": 5.0}))
    health.show("settle", Mode.STUCK)
    assert not health.is_live


def test_the_picture(clock: ManualClock) -> None:
    health = in_service(made(clock))
    health.failed("metrics", KeyError("x"), again=True)
    health.failed("metrics", KeyError("y"), again=False)
    clock.pass_by(2.5)
    code, text = asked(health, "/health")
    picture = json.loads(text)
    since = {service.pop("since") for service in picture["services"].values()}
    assert code == 200
    assert None not in since
    assert picture == {
        "host": "billing",
        "instance": "web-1",
        "state": "ready",
        "live": True,
        "ready": True,
        "reasons": [],
        "store": "there",
        "settings": {"rejected": None, "at_next_start": []},
        "services": {
            "settle": _shown("passive", role="passive"),
            "metrics": _shown("running", restarts=1, error="KeyError: 'y'"),
        },
    }


def _shown(state: str, *, role: str | None = None, restarts: int = 0, error: str | None = None) -> dict[str, Any]:
    return {
        "state": state,
        "role": role,
        "token": None,
        "last_beat": 2.5,
        "restarts": restarts,
        "error": error,
        "warning": None,
    }


async def test_active_is_who_holds_a_term_at_this_very_moment(clock: ManualClock, tmp_path: Path) -> None:
    health = in_service(made(clock))
    async with instance(tmp_path / "store.db", "web-1") as own, _leading(own, health) as term:
        assert asked(health, "/active") == (200, "active\n")
        assert asked(health, "/active/settle") == (200, "active\n")
        assert asked(health, "/active?service=settle") == (200, "active\n")
        assert asked(health, "/standby")[0] == 503
        shown = health.picture()["services"]["settle"]
        assert (shown["role"], shown["token"]) == ("active", term.token)
        health.show("settle", Mode.COMPLETED, term.token)
        assert asked(health, "/active")[0] == 200
        term.end("was taken away")  # the body has not noticed yet, and its mode stands as it was
        assert asked(health, "/active") == (503, "not active in settle\n")
        assert health.picture()["services"]["settle"]["role"] == "passive"


class _leading:  # noqa: N801 - reads as what it is: a block
    def __init__(self, own: Any, health: Health) -> None:
        self._election, self._health = own.election("settle"), health

    async def __aenter__(self) -> Term:
        self._term: Term = await soon(self._election.win())
        self._health.began([self._term])
        self._health.show("settle", Mode.ACTIVE, self._term.token)
        return self._term

    async def __aexit__(self, *_: object) -> None:
        await self._election.resign(self._term, "was stopped")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/active/refund", "there is no 'refund'"),
        ("/active?service=metrics", "there is no 'metrics'"),
        ("/active", "say which by ?service=NAME: the services that work on one instance: settle, remind"),
        ("/metrics", "there is /livez"),
        ("/livez/settle", "there is /livez"),
        ("/", "there is /livez"),
    ],
)
def test_what_is_not_there_is_told(clock: ManualClock, target: str, words: str) -> None:
    found = answer(made(clock, settle=True, remind=True, metrics=False), target)
    assert found.status == HTTPStatus.NOT_FOUND
    assert words in found.body


def test_the_status_in_one_line(clock: ManualClock) -> None:
    health = made(clock)
    assert health.status() == "waiting for the store"
    assert in_service(health).status() == "passive"
    health.show("settle", Mode.ACTIVE, 41)
    assert health.status() == "active token=41"
    two = made(clock, critical={"settle": 1.0}, settle=True, remind=True)
    two.show("settle", Mode.ACTIVE, 41)
    two.show("remind", Mode.PASSIVE)
    two.enter(State.READY)
    assert two.status() == "settle active token=41; remind passive"
    clock.pass_by(2)
    assert two.status() == "settle has not beaten for 2.0 s, and 1 s are its limit"


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:8080", ("127.0.0.1", 8080)), (":0", (None, 0)), ("[::1]:80", ("::1", 80)), ("a.b:1", ("a.b", 1))],
)
def test_addresses(text: str, address: tuple[str | None, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["8080", "localhost", "localhost:", "localhost:x", "localhost:70000", ""])
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(ConfigurationError, match="write HOST:PORT"):
        parse_address(text)


async def test_what_is_critical_must_be_a_service_and_its_time_a_time() -> None:
    host = Host("billing")
    host.background(name="metrics")(_work)
    for within in (0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigurationError, match="within="):
            host.critical("metrics", within=within)
    host.critical("metrik", within=5)
    with pytest.raises(ConfigurationError, match="'metrik' is critical, and no service: the host has metrics"):
        _Quiet(host.plan, host.settings, "web-1")


async def _work(stopping: Stopping) -> None:
    await stopping.sleep(0)


class _Quiet(Runtime):
    def limit(self, *, stop_timeout: float, hang_timeout: float) -> None:
        raise AssertionError(stop_timeout, hang_timeout)

    def fail(self, why: str, code: int) -> None:
        raise AssertionError(why, code)

    def stopped(self, errors: list[Exception]) -> None:
        assert not errors
