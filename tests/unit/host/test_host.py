"""What a user declares, and what is refused while it is declared."""

from __future__ import annotations

from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from locum import (
    ActivePassiveService,
    BackgroundService,
    Host,
    Stopping,
    Term,
    TermEnded,
    TermStarted,
    blocking,
)
from locum.errors import ConfigurationError
from locum.host.finding import find_host
from locum.host.host import keeper_command
from locum.host.plan import hooks_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Settlement(ActivePassiveService):
    pass


class HTTPMetrics(BackgroundService):
    pass


@pytest.fixture
def host() -> Host:
    return Host("billing")


async def nothing(context: Any) -> None: ...


def declared(host: Host) -> list[tuple[str, str, float | None, float]]:
    return [
        (one.name, one.kind, one.rhythm.every if one.rhythm else None, one.stop_timeout)
        for one in host.plan.declarations
    ]


def test_services_are_declared_in_order_under_their_names(host: Host) -> None:
    host.add(Settlement, stop_timeout=20)
    host.add(HTTPMetrics())
    host.add(HTTPMetrics, name="more")

    @host.active_passive(every=1.0)
    async def reminders(term: Term) -> None: ...

    @host.active_passive
    async def bare(term: Term) -> None: ...

    @host.background(name="other", stop_timeout=5)
    async def poll(stopping: Stopping) -> None: ...

    assert declared(host) == [
        ("settlement", "active_passive", None, 20),
        ("http_metrics", "background", None, 30.0),
        ("more", "background", None, 30.0),
        ("reminders", "active_passive", 1.0, 30.0),
        ("bare", "active_passive", None, 30.0),
        ("other", "background", None, 5),
    ]


def test_a_decorated_function_stays_what_it_is(host: Host) -> None:
    assert host.background(nothing) is nothing
    assert host.active_passive(name="other")(nothing) is nothing


def test_a_name_is_given_once(host: Host) -> None:
    host.add(Settlement)
    with pytest.raises(
        ConfigurationError, match="billing has a service 'settlement' already: give one of them another"
    ):
        host.add(Settlement)
    with pytest.raises(ConfigurationError, match="already"):
        host.background(name="settlement")(nothing)
    assert len(declared(host)) == 1


def generator(stopping: Any) -> Iterator[int]:
    yield 1


async def async_generator(stopping: Any) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("what", [generator, async_generator, Settlement, partial(nothing), 7])
def test_what_can_be_no_body_is_refused_with_what_would_be(host: Host, what: Any) -> None:
    for decorate in (host.background, host.active_passive):
        with pytest.raises(ConfigurationError, match=r"is no function|is a generator, whose body would never run"):
            decorate(what)
    assert declared(host) == []


def test_a_plain_function_is_a_body_too(host: Host) -> None:
    @host.active_passive(every=1.0)
    def reminders(term: blocking.Term) -> None: ...

    @host.background
    def poll(stopping: blocking.Stopping) -> None: ...

    assert [name for name, *_ in declared(host)] == ["reminders", "poll"]


def test_the_bodies_of_a_declaration_are_the_users_own(host: Host) -> None:
    class Plain(ActivePassiveService):
        def run_active(self, term: blocking.Term) -> None: ...

    class Both(BackgroundService):
        async def run(self, stopping: Stopping) -> None: ...

    host.add(Plain)
    host.add(Both())
    host.add(Settlement)
    host.background(nothing)
    found = [[(body, *signature(body).parameters) for body in one.bodies] for one in host.plan.declarations]
    assert [[names for _, *names in bodies] for bodies in found] == [[["term"]], [["stopping"]], [], [["context"]]]


@pytest.mark.parametrize("service", [object, object(), dict, 7, nothing])
def test_what_is_no_service_is_refused_with_what_would_be(host: Host, service: object) -> None:
    with pytest.raises(ConfigurationError, match="is no service: derive it from ActivePassiveService"):
        host.add(service)


@pytest.mark.parametrize("name", ["a b", "a/b", "", "-"])
def test_a_service_has_a_name(host: Host, name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a service"):
        host.background(name=name or " ")(nothing)
    with pytest.raises(ConfigurationError, match="cannot be the name of a host"):
        Host(name)


@pytest.mark.parametrize("every", [0.0, -1.0, float("nan")])
def test_a_period_is_longer_than_nothing(host: Host, every: float) -> None:
    with pytest.raises(ConfigurationError, match="must be more than 0 seconds"):
        host.active_passive(every=every)(nothing)


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("inf"), float("nan")])
def test_a_stop_has_an_end(host: Host, timeout: float) -> None:
    with pytest.raises(ConfigurationError, match="must be a number of seconds above 0"):
        host.add(Settlement, stop_timeout=timeout)


def test_handlers_are_for_types_of_events(host: Host) -> None:
    def page(event: Any) -> None: ...

    assert host.on(TermEnded)(page) is page
    assert host.on(TermStarted)(page) is page
    assert host.plan.handlers == [(TermEnded, page), (TermStarted, page)]
    for wrong in (Settlement, "TermEnded", TermEnded(instance="a", service="b", token=1, why="c", lost=True)):
        with pytest.raises(ConfigurationError, match="is no type of event"):
            host.on(wrong)  # type: ignore[arg-type]


def test_an_enforcement_is_kill_or_cancel() -> None:
    for enforcement in (None, "kill", "cancel"):
        assert Host("billing", enforcement=enforcement).plan.enforcement == enforcement
    with pytest.raises(ConfigurationError, match="enforcement='hope' is not known: it is cancel or kill"):
        Host("billing", enforcement="hope")


def test_under_a_keeper_only_kill_will_do() -> None:
    with pytest.raises(ConfigurationError, match="under a keeper work is ended by 'kill'"):
        Host("billing", enforcement="cancel").run()


def test_the_default_store_lies_beside_the_users_module(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCUM_STORE", raising=False)
    assert host.settings.store_url.endswith("/billing.locum.db")
    assert str(Path(__file__).parent) in host.settings.store_url


def test_a_declaration_does_nothing(host: Host, tmp_path: Path) -> None:
    Host("billing", store=f"sqlite:///{tmp_path}/store.db").add(Settlement)
    assert list(tmp_path.iterdir()) == []


def test_only_a_service_of_a_class_has_hooks() -> None:
    settlement = Settlement()
    assert hooks_of(settlement) is settlement
    assert hooks_of(nothing) is None


def test_a_keeper_does_not_import_from_the_users_folder() -> None:
    command = keeper_command(["python", "app.py"])
    assert command[1:] == ["-P", "-m", "locum.keeper", "--", "python", "app.py"]


# -- finding it


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "an_app_of_a_test.py").write_text(
        "from locum import Host\nhost = Host('billing')\nother = Host('other')\nnumber = 7\n"
    )
    (tmp_path / "a_broken_app_of_a_test.py").write_text("import a_module_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    return "an_app_of_a_test"


@pytest.mark.parametrize(
    ("suffix", "name"), [("", "billing"), (":", "billing"), (":host", "billing"), (":other", "other")]
)
def test_a_host_is_found_by_its_name(module: str, suffix: str, name: str) -> None:
    assert find_host(module + suffix).name == name


def test_a_module_without_that_host_is_told(module: str) -> None:
    for name in ("missing", "number"):
        with pytest.raises(ConfigurationError, match=rf"has no host '{name}'"):
            find_host(f"{module}:{name}")


@pytest.mark.parametrize("name", ["no_such_module_at_all", "no_such_package_at_all.app:host"])
def test_a_module_that_is_not_there_is_told(name: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no module"):
        find_host(name)


def test_an_import_that_fails_inside_the_module_is_the_users_own_error(module: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="a_module_that_nobody_has"):
        find_host("a_broken_app_of_a_test")
