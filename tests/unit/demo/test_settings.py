"""What can be set in the demo: by the environment, and before that by the command line; all that is wrong at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from locum.cli.main import main
from locum.demo.settings import DemoSettings, read_settings
from locum.errors import ConfigurationError


def test_what_is_given_comes_before_the_environment_and_that_before_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCUM_DEMO_RATE", "7")
    monkeypatch.setenv("LOCUM_DEMO_INTERVAL", "0.5")
    assert read_settings(rate=9.0) == DemoSettings(interval=0.5, rate=9.0, broker="")


def test_an_instance_reads_what_the_demo_has_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings(rate=3, interval=0.25, broker="redis://:secret@127.0.0.1")
    for name, value in settings.to_environment().items():
        monkeypatch.setenv(name, value)
    assert read_settings() == settings


def test_everything_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCUM_DEMO_RATE", "many")
    with pytest.raises(
        ConfigurationError, match=r"(?s)command line: locum_demo.interval: .*environment: LOCUM_DEMO_RATE: "
    ):
        read_settings(interval=0)


@pytest.mark.parametrize(
    ("url", "words"), [("kafka://x", "no broker is known for 'kafka://x'"), ("nonsense", "write redis://")]
)
def test_a_broker_of_no_known_kind_is_one_readable_error_and_78(
    url: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--broker", url]) == 78
    assert words in capsys.readouterr().err


def test_they_are_the_hosts_own_options_and_change_with_a_reload(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "demo.toml").write_text("[locum_demo]\ninterval = 0.5\nbroker = 'redis://:secret@127.0.0.1'\n")
    monkeypatch.setenv("LOCUM_CONFIG", str(tmp_path / "demo.toml"))
    monkeypatch.setenv("LOCUM_DEMO_RATE", "7")
    from locum.demo.app import host

    values = {one.key: (one.value, one.origin) for one in host.plan.configuration.load().values}
    assert values["locum_demo.rate"] == (7.0, "environment: LOCUM_DEMO_RATE")
    assert values["locum_demo.interval"] == (0.5, f"{tmp_path / 'demo.toml'}: locum_demo.interval")
    assert values["locum_demo.broker"][0] == "redis://:***@127.0.0.1"
    monkeypatch.setenv("LOCUM_DEMO_INTERVAL", "2")
    assert host.reload()
    assert host.plan.configuration.snapshot.options["locum_demo"].interval == 2
    monkeypatch.setenv("LOCUM_DEMO_BROKER", "kafka://x")
    assert not host.reload()
    assert host.plan.configuration.snapshot.options["locum_demo"].broker.startswith("redis")
