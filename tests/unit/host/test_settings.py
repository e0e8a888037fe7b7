"""What the code says, and what the environment says instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from locum.clock import Clock
from locum.errors import ConfigurationError
from locum.host.configuration import Configuration
from locum.host.layers import Sources
from locum.host.settings import INSTANCE_VARIABLE, STORE_VARIABLE, TTL_VARIABLE, Settings
from locum.identity import host_name
from locum.registry import make_store
from locum.stores.sqlite import SqliteStore


def resolved(code: Settings, folder: Path = Path("/srv/app")) -> Settings:
    return Configuration(code, Sources(folder)).read().settings


CODE = Settings(
    name="billing", store="sqlite:///code.db", ttl=6.0, instance="web-1", hang_timeout=30.0, folder=Path("/srv/app")
)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (STORE_VARIABLE, INSTANCE_VARIABLE, TTL_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


def test_without_an_environment_the_code_is_right() -> None:
    assert resolved(CODE) == CODE


def test_the_environment_overrides_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCUM_STORE", "sqlite:////var/lib/environment.db")
    monkeypatch.setenv("LOCUM_INSTANCE", "web-9")
    monkeypatch.setenv("LOCUM_TTL", "2.5")
    changed = resolved(CODE)
    assert (changed.store, changed.instance, changed.ttl) == ("sqlite:////var/lib/environment.db", "web-9", 2.5)
    assert replace(changed, store=CODE.store, instance=CODE.instance, ttl=CODE.ttl) == CODE


@pytest.mark.parametrize("variable", [STORE_VARIABLE, INSTANCE_VARIABLE, TTL_VARIABLE])
def test_an_empty_variable_says_nothing(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "")
    assert resolved(CODE) == CODE


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        (TTL_VARIABLE, "soon", "LOCUM_TTL='soon' is no number of seconds"),
        (TTL_VARIABLE, "0.1", "a TTL of 0.1 s cannot be"),
        (TTL_VARIABLE, "nan", "a TTL of nan s cannot be"),
        (INSTANCE_VARIABLE, "web 1", "'web 1' cannot be the name of an instance"),
    ],
)
def test_what_cannot_be_is_told(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, message: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=message):
        resolved(CODE)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"name": "a/b"}, "the name of a host"), ({"ttl": 0.0}, "a TTL of"), ({"hang_timeout": 0.0}, "a hang_timeout of")],
)
def test_what_the_code_says_is_checked_too(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        resolved(replace(CODE, **change))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("store", "url"),
    [
        (None, "sqlite:////srv/app/billing.locum.db"),
        ("sqlite:///orders.db", "sqlite:////srv/app/orders.db"),
        ("sqlite:///data/orders.db", "sqlite:////srv/app/data/orders.db"),
        ("sqlite:////var/lib/orders.db", "sqlite:////var/lib/orders.db"),
        ("postgresql://me@host/orders", "postgresql://me@host/orders"),
    ],
)
def test_a_relative_file_lies_beside_the_users_module(store: str | None, url: str) -> None:
    assert replace(CODE, store=store).store_url == url


@pytest.mark.parametrize("folder", ["plain", "with space", "a#b", "a?b", "50%25", "ä"])
@pytest.mark.parametrize(
    ("store", "name"), [("sqlite:///orders.db", "orders.db"), ("sqlite:///my%20orders.db", "my orders.db")]
)
def test_whatever_the_folder_is_called_the_store_is_in_it(folder: str, store: str, name: str) -> None:
    url = replace(CODE, store=store, folder=Path("/srv") / folder).store_url
    found = make_store(url, namespace="billing", clock=Clock())
    assert isinstance(found, SqliteStore)
    assert found.path == Path("/srv") / folder / name


def test_an_instance_without_a_name_is_called_after_its_machine_and_keeper() -> None:
    assert CODE.instance_under(4711) == "web-1"
    assert replace(CODE, instance=None).instance_under(4711) == f"{host_name()}-4711"
