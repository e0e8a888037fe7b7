"""From a store's URL to its driver."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from locum import registry
from locum.clock import Clock
from locum.errors import ConfigurationError, UnknownStoreError
from locum.registry import load_driver, make_store, without_secrets
from locum.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path


def test_a_sqlite_url_makes_a_sqlite_store_that_is_not_open(tmp_path: Path) -> None:
    store = make_store(f"sqlite:///{tmp_path}/billing.db", namespace="billing", clock=Clock())
    assert isinstance(store, SqliteStore)
    assert (store.namespace, store.path) == ("billing", tmp_path / "billing.db")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_scheme_is_told_with_those_that_are_known() -> None:
    with pytest.raises(UnknownStoreError, match=r"no store is known for 'mango': use one of .*sqlite") as refusal:
        make_store("mango://somewhere", namespace="billing", clock=Clock())
    assert refusal.value.scheme == "mango"


@pytest.mark.parametrize("url", ["", "billing.db", "/var/billing.db", "://", "C"])
def test_a_url_without_a_scheme_is_told_how_to_write_one(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write it like sqlite:///billing\.db"):
        make_store(url, namespace="billing", clock=Clock())


@pytest.mark.parametrize("namespace", ["", "a/b", "a b"])
def test_a_namespace_is_a_name(namespace: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be a namespace"):
        make_store("sqlite:///billing.db", namespace=namespace, clock=Clock())


def test_a_strangers_driver_is_found_by_its_entry_point(tmp_path: Path) -> None:
    (tmp_path / "stranger.py").write_text(
        "def make_store(url, *, namespace, clock):\n    return ('a store', url, namespace)\n"
    )
    (tmp_path / "broken.py").write_text("raise RuntimeError('imported, though nobody asked for it')\n")
    installed = tmp_path / "stranger-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[locum.stores]\nstranger = stranger:make_store\nbroken = broken:make_store\n"
    )
    program = """
from locum.clock import Clock
from locum.errors import UnknownStoreError
from locum.registry import make_store
print(make_store("stranger://host/x", namespace="billing", clock=Clock()))
try:
    make_store("mango://", namespace="billing", clock=Clock())
except UnknownStoreError as error:
    print(error)
"""
    said = subprocess.check_output(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{program}"], text=True
    ).splitlines()
    assert said[0] == "('a store', 'stranger://host/x', 'billing')"
    known = ", ".join(sorted({*registry._OURS, "broken", "stranger"}))
    assert said[1] == f"no store is known for 'mango': use one of {known}"


def test_a_driver_is_imported_when_its_url_is_used() -> None:
    program = """
import sys
import locum.registry
assert not [name for name in sys.modules if name.startswith("locum.stores.")]
assert "importlib.metadata" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(("url", "library"), [("postgresql://me@host/billing", "asyncpg")])
def test_all_that_a_driver_needs_is_loaded_before_its_store_is_made(url: str, library: str) -> None:
    """A library that is loaded in an event loop has it stand still, and its keeper warn of that."""
    program = f"""
import sys
from locum.registry import load_driver
load_driver({url!r})
assert {library!r} in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("url", ["sqlite:///billing.db", "memory://x", "mango://host", "no url"])
def test_nothing_is_loaded_before_where_nothing_takes_its_time_or_the_url_is_wrong(url: str) -> None:
    load_driver(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///billing.db", "sqlite:///billing.db"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://me@host/0", "redis://me@host/0"),
        ("redis://me:secret@host:6379/0?x=1", "redis://me:***@host:6379/0?x=1"),
        ("redis://:secret@host", "redis://:***@host"),
        ("redis://me:me@host", "redis://me:***@host"),
        ("redis://me:p%40ss@host", "redis://me:***@host"),
        ("redis://me:@host", "redis://me:***@host"),
        ("redis://me:p/a@ss@host/0", "redis://me:***@host/0"),
        ("redis://:one@a,redis://:two@b/0", "redis://:***@a,redis://:***@b/0"),
        ("redis://me:secret@[::1/0", "redis://me:***@[::1/0"),
        ("https://host/hook?to=me&token=secret&x=1#top", "https://host/hook?to=me&token=***&x=1#top"),
        ("https://host/hook?X-Amz-Security-Token=secret", "https://host/hook?X-Amz-Security-Token=***"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?user=me&password=***"),
        ("postgresql://host/db?sslpassword=secret;pwd=two", "postgresql://host/db?sslpassword=***;pwd=***"),
        ("host=db user=me password=secret dbname=x", "host=db user=me password=*** dbname=x"),
        ("redis://host?password_file=/run/me&keyfile=/run/key", "redis://host?password_file=/run/me&keyfile=/run/key"),
        ("https://host:443/x?monkey=1&keys=2&path=a@b", "https://host:443/x?monkey=1&keys=2&path=a@b"),
    ],
)
def test_what_is_secret_in_a_url_is_not_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


@pytest.mark.parametrize("url", ["me:secret@host/0", "redis://me:secret@[::1/0", "://me:secret@host"])
def test_a_url_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_store(url, namespace="billing", clock=Clock())
    assert "secret" not in str(caught.value)
