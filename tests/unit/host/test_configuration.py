"""Layers, all errors at once, one snapshot, and what a reload does and does not."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from locum.clock import Clock
from locum.errors import ConfigurationError
from locum.host.configuration import Configuration, Options
from locum.host.container import Container
from locum.host.host import Host
from locum.host.layers import COMMAND_LINE_VARIABLE, CONFIG_VARIABLE, ENV_FILE_VARIABLE, Sources
from locum.host.options import provide_options
from locum.host.settings import LIMIT_KEYS, LOG_KEYS, Settings
from locum.scopes import Scope


class Retry(BaseModel):
    count: int = 3
    pauses: list[float] = []


class Billing(BaseModel):
    rate: int
    broker: str = "amqp://me:pass-word@broker/"
    key: SecretStr = SecretStr("pass-word")
    retry: Retry = Retry()


class Mail(BaseModel):
    sender: str = "nobody"


FILE = """
[locum]
ttl = 5

[billing]
rate = 2
[billing.retry]
count = 7
"""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("LOCUM_", "BILLING_", "MAIL_")):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "app.toml"
    path.write_text(FILE)
    return path


def configuration(folder: Path, file: str | None = "app.toml", env_file: str | None = ".env") -> Configuration:
    code = Settings(name="billing", store=None, ttl=6.0, instance=None, hang_timeout=30.0, folder=folder)
    return Configuration(code, Sources(folder, file, env_file))


def shown(found: Configuration) -> dict[str, tuple[Any, str]]:
    return {value.key: (value.value, value.origin) for value in found.read().values}


# -- layers


def test_each_layer_lies_over_the_one_before(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = configuration(tmp_path)
    options = found.add(Billing, "billing")
    file.write_text("[billing]\nrate = 2")
    assert found.load().options["billing"].rate == 2
    (tmp_path / ".env").write_text("BILLING_RATE=3\nLOCUM_TTL=3\n")
    assert (found.load().options["billing"].rate, found.snapshot.settings.ttl) == (3, 3.0)
    monkeypatch.setenv("BILLING_RATE", "4")
    monkeypatch.setenv("LOCUM_TTL", "4")
    assert (found.load().options["billing"].rate, found.snapshot.settings.ttl) == (4, 4.0)
    monkeypatch.setenv(COMMAND_LINE_VARIABLE, json.dumps({"billing.rate": "5", "locum.ttl": "5"}))
    assert (found.load().options["billing"].rate, found.snapshot.settings.ttl) == (5, 5.0)
    assert options.current.rate == 5
    assert options.current.broker == Billing(rate=1).broker  # the code is the lowest


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("app.toml", FILE),
        ("app.json", json.dumps({"locum": {"ttl": 5}, "billing": {"rate": 2, "retry": {"count": 7}}})),
        ("app.yaml", "locum: {ttl: 5}\nbilling:\n  rate: 2\n  retry: {count: 7}\n"),
    ],
)
def test_a_file_may_be_toml_json_or_yaml(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    found = configuration(tmp_path, name)
    found.add(Billing, "billing")
    snapshot = found.read()
    assert snapshot.settings.ttl == 5
    assert (snapshot.options["billing"].rate, snapshot.options["billing"].retry.count) == (2, 7)


def test_variables_reach_what_is_nested_and_lists(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_RETRY__PAUSES", "[1, 2.5]")
    found = configuration(tmp_path)
    found.add(Billing, "billing")
    assert found.read().options["billing"].retry == Retry(count=7, pauses=[1.0, 2.5])


def test_the_environment_names_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other.toml").write_text("[billing]\nrate = 9")
    (tmp_path / "prod.env").write_text("MAIL_SENDER=me")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CONFIG_VARIABLE, "other.toml")
    monkeypatch.setenv(ENV_FILE_VARIABLE, "prod.env")
    found = configuration(tmp_path / "elsewhere")
    found.add(Billing, "billing")
    found.add(Mail, "mail")
    assert found.read().options == {"billing": Billing(rate=9), "mail": Mail(sender="me")}


# -- origins and secrets


def test_every_value_is_shown_with_its_origin_and_without_secrets(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCUM_STORE", "postgresql://me:pass-word@host/db")
    monkeypatch.setenv("BILLING_RETRY", '{"pauses": [1]}')
    (tmp_path / ".env").write_text("BILLING_KEY=pass-word\n")
    monkeypatch.setenv(COMMAND_LINE_VARIABLE, json.dumps({"billing.rate": "5"}))
    found = configuration(tmp_path)
    found.add(Billing, "billing")
    values = shown(found)
    assert values["locum.store"] == ("postgresql://me:***@host/db", "environment: LOCUM_STORE")
    assert values["locum.ttl"] == (5.0, f"{file}: locum.ttl")
    assert values["locum.hang_timeout"] == (30.0, "code")
    assert values["billing.rate"] == (5, "--set billing.rate")
    assert values["billing.broker"] == ("amqp://me:***@broker/", "code")
    assert values["billing.key"] == ("***", f"{tmp_path / '.env'}: BILLING_KEY")
    assert values["billing.retry.count"] == (7, f"{file}: billing.retry.count")
    assert values["billing.retry.pauses"] == ([1.0], "environment: BILLING_RETRY")
    assert "pass-word" not in str(values)


def test_what_is_called_a_secret_is_hidden_though_its_type_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Server(BaseModel):
        password: str = "pass-word"  # noqa: S105 - it is to be hidden
        password_file: str = "/run/password"  # noqa: S105 - a path

    class Smtp(BaseModel):
        smtp_password: str = "pass-word"  # noqa: S105 - it is to be hidden
        api_key: str = ""
        tokens: int = 3
        login: dict[str, str] = {"user": "me", "secret": "pass-word"}
        servers: list[Server] = [Server()]

    found = configuration(tmp_path, None)
    found.add(Smtp, "smtp")
    values = {key.partition(".")[2]: value for key, (value, _) in shown(found).items() if key.startswith("smtp.")}
    assert values == {
        "smtp_password": "***",
        "api_key": "",
        "tokens": 3,
        "login": {"user": "me", "secret": "***"},
        "servers": [{"password": "***", "password_file": "/run/password"}],
    }


def test_what_is_secret_in_any_text_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCUM_STORE", "postgresql://me@host/db?password=pass-word")
    monkeypatch.setenv("MAIL_SENDER", "https://hook/?token=pass-word&to=[me")
    found = configuration(tmp_path, None)
    found.add(Mail, "mail")
    values = shown(found)
    assert values["locum.store"] == ("postgresql://me@host/db?password=***", "environment: LOCUM_STORE")
    assert values["mail.sender"] == ("https://hook/?token=***&to=[me", "environment: MAIL_SENDER")


@pytest.mark.parametrize(
    ("key", "given", "value"),
    [
        ("health", ":1", ":1"),
        ("health_file", "/run/1", "/run/1"),
        ("stop_timeout", 1, 1.0),
        ("drain_delay", 1, 1.0),
        ("hang_timeout", 1, 1.0),
        ("instance", "web-1", "web-1"),
    ],
)
def test_every_setting_of_the_host_goes_through_every_layer(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, given: object, value: str | float
) -> None:
    found, name = configuration(tmp_path), f"locum.{key}"
    variable = f"LOCUM_{key.upper()}"
    assert shown(found)[name][1] == "code"
    file.write_text(f"[locum]\n{key} = {json.dumps(given)}")
    assert shown(found)[name] == (value, f"{file}: {name}")

    def again(number: int) -> str:
        return str(given).replace("1", str(number))

    (tmp_path / ".env").write_text(f"{variable}={again(2)}")
    assert shown(found)[name] == (type(value)(again(2)), f"{tmp_path / '.env'}: {variable}")
    monkeypatch.setenv(variable, again(3))
    assert shown(found)[name] == (type(value)(again(3)), f"environment: {variable}")
    monkeypatch.setenv(COMMAND_LINE_VARIABLE, json.dumps({name: again(4)}))
    assert shown(found)[name] == (type(value)(again(4)), f"--set {name}")


@pytest.mark.parametrize(
    ("key", "given", "message"),
    [
        ("health", "8080", "health='8080' is no address to listen on: write HOST:PORT"),
        ("health", ":http", "health=':http' is no address"),
        ("stop_timeout", "0", r"stop_timeout=0.0 must be a number of seconds above 0"),
        ("stop_timeout", "inf", r"stop_timeout=inf must be a number of seconds above 0"),
        ("drain_delay", "-1", r"drain_delay=-1.0 must be a number of seconds of 0 or more"),
        ("drain_delay", "nan", r"drain_delay=nan must be"),
    ],
)
def test_a_setting_of_the_host_that_cannot_be_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, given: str, message: str
) -> None:
    monkeypatch.setenv(f"LOCUM_{key.upper()}", given)
    with pytest.raises(ConfigurationError, match=f"environment: LOCUM_{key.upper()}: {message}"):
        configuration(tmp_path, None).read()


# -- what is wrong


def test_all_that_is_wrong_is_told_at_once_with_its_place(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("[locum]\nttl = 'soon'\ntle = 3\n[billing]\nratee = 1\n[mail]\nsender = 3\nsendr = 2")
    monkeypatch.setenv("LOCUM_INSTANCE", "web 1")
    monkeypatch.setenv("BILLING_RETRY__COUNT", "many")
    monkeypatch.setenv("BILLING_RETRY__PAUSES", "[1,")
    found = configuration(tmp_path)
    found.add(Billing, "billing")
    found.add(Mail, "mail")
    with pytest.raises(ConfigurationError) as caught:
        found.read()
    text = str(caught.value)
    for part in (
        f"{file}: locum.ttl='soon' is no number of seconds",
        f"{file}: locum.tle is not known: it is one of store, ttl",
        "environment: LOCUM_INSTANCE: 'web 1' cannot be the name of an instance",
        "billing.rate is not set: write rate = ... under [billing] in the settings file, or set BILLING_RATE",
        "environment: BILLING_RETRY__COUNT: Input should be a valid integer",
        "environment: BILLING_RETRY__PAUSES",
        f"{file}: mail.sender: Input should be a valid string",
    ):
        assert part in text


def test_a_slip_in_a_file_is_told_and_not_passed_over(file: Path, tmp_path: Path) -> None:
    file.write_text("[mail]\nsendr = 'me'")
    found = configuration(tmp_path)
    found.add(Mail, "mail")
    with pytest.raises(ConfigurationError, match=r"app.toml: mail.sendr is not known: it is one of sender"):
        found.read()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("app.toml", "= 1", "is not readable"),
        ("app.json", "{", "is not readable"),
        ("app.yaml", "a: [", "is not readable"),
        ("app.ini", "", r"use .toml, .json, .yaml or .yml"),
        ("app.json", "[1]", "must have sections with keys"),
        ("app.toml", "billing = 3", "billing must be a section with keys"),
        ("app.toml", None, "is not there, though Host"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    found = configuration(tmp_path, name)
    found.add(Billing, "billing")
    with pytest.raises(ConfigurationError, match=message):
        found.read()


def test_only_models_in_sections_of_their_own_are_read(tmp_path: Path) -> None:
    found = configuration(tmp_path, None)
    found.add(Mail, "mail")
    with pytest.raises(ConfigurationError, match="is read as Mail already"):
        found.add(Billing, "mail")
    with pytest.raises(ConfigurationError, match="is for Locum's own settings"):
        found.add(Billing, "locum")
    with pytest.raises(ConfigurationError, match="is no model of pydantic"):
        found.add(dict, "dict")


# -- reload


def test_a_reload_exchanges_the_whole_snapshot_and_tells_those_who_asked(file: Path, tmp_path: Path) -> None:
    found = configuration(tmp_path)
    billing, mail = found.add(Billing, "billing"), found.add(Mail, "mail")
    heard: list[object] = []
    seen: list[int] = []

    @billing.on_change
    def changed(now: Billing) -> None:
        heard.append(now.rate)
        seen.append(billing.current.rate)

    mail.on_change(heard.append)
    found.load()
    before = billing.current
    file.write_text(FILE.replace("rate = 2", "rate = 4"))
    assert before is billing.current  # nothing happens by itself
    assert found.reload()
    assert (before.rate, billing.current.rate) == (2, 4)
    assert heard == [4]  # and the section that stayed the same was not told
    assert seen == [4]


def test_a_reload_that_is_wrong_in_one_place_changes_nothing_anywhere(
    file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = configuration(tmp_path)
    billing, mail = found.add(Billing, "billing"), found.add(Mail, "mail")
    before = found.load()
    file.write_text("[mail]\nsender = 'me'\n[billing]\nrate = 'many'")
    assert not found.reload()
    assert found.snapshot is before
    assert (billing.current.rate, mail.current.sender) == (2, "nobody")
    assert "the last good ones stay" in caplog.text
    assert f"{file}: billing.rate" in caplog.text or f"{file}: Input" in caplog.text


def test_a_handler_that_fails_keeps_no_other_from_being_told(file: Path, tmp_path: Path) -> None:
    found = configuration(tmp_path)
    billing = found.add(Billing, "billing")
    heard: list[Billing] = []

    @billing.on_change
    def fails(now: Billing) -> None:
        raise ValueError("boom")

    billing.on_change(heard.append)
    found.load()
    file.write_text(FILE.replace("rate = 2", "rate = 4"))
    assert found.reload()
    assert [one.rate for one in heard] == [4]


def test_what_is_the_hosts_own_waits_for_the_next_start(
    file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = configuration(tmp_path)
    found.load()
    file.write_text(FILE.replace("ttl = 5", "ttl = 4"))
    with caplog.at_level(logging.WARNING):
        assert found.reload()
    assert "heeded at the next start only: locum.ttl." in caplog.text


def test_how_is_logged_changes_at_once_where_logging_is_ours(
    file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found, set_up = configuration(tmp_path), list[tuple[str, str | None]]()
    found.load()
    found.heed(LOG_KEYS, lambda settings: set_up.append((settings.log_format, settings.log_level)))
    file.write_text(FILE.replace("ttl = 5", "ttl = 4\nlog_level = 'debug'"))
    assert found.reload()
    assert set_up == [("console", "debug")]
    assert "heeded at the next start only: locum.ttl." in caplog.text
    file.write_text(FILE.replace("ttl = 5", "ttl = 4\nlog_level = 'loud'"))
    assert not found.reload()
    assert len(set_up) == 1


def test_what_waits_for_the_next_start_is_told_until_it_is_as_it_was(file: Path, tmp_path: Path) -> None:
    found, told = configuration(tmp_path), list[tuple[str, list[str]]]()
    found.load()
    found.tell_with(lambda rejected, waiting: told.append((rejected, waiting)))
    file.write_text(FILE.replace("ttl = 5", "ttl = 4"))
    assert found.reload()
    file.write_text(FILE.replace("ttl = 5", "ttl = 'soon'"))
    assert not found.reload()
    file.write_text(FILE)
    assert found.reload()
    assert [waiting for _, waiting in told] == [["locum.ttl"], ["locum.ttl"], []]
    assert [bool(rejected) for rejected, _ in told] == [False, True, False]
    assert "locum.ttl='soon' is no number of seconds" in told[1][0]


def test_what_would_not_go_with_the_rest_is_rejected_before_anything_is_exchanged(file: Path, tmp_path: Path) -> None:
    found, heard = configuration(tmp_path), list[float]()

    def check(settings: Settings) -> None:
        if settings.drain_delay > 9:
            raise ConfigurationError("nothing is left for its services")

    before = found.load()
    found.heed(LIMIT_KEYS, lambda settings: heard.append(settings.drain_delay), check=check)
    file.write_text(FILE.replace("ttl = 5", "ttl = 5\ndrain_delay = 10"))
    assert not found.reload()
    assert (found.snapshot, heard) == (before, [])
    file.write_text(FILE.replace("ttl = 5", "ttl = 5\ndrain_delay = 8"))
    assert found.reload()
    assert heard == [8]


class Quick(Clock):
    """Pauses end at once, so that a look follows the other."""

    async def sleep(self, duration: float) -> None:
        await super().sleep(0.01)


@pytest.mark.parametrize("how", ["written", "link exchanged"])
async def test_a_file_that_changes_is_noticed(tmp_path: Path, how: str) -> None:
    """As Kubernetes does it: app.toml -> ..data/app.toml, ..data -> a folder that is exchanged."""
    for number in (1, 2):
        (tmp_path / f"v{number}").mkdir()
        (tmp_path / f"v{number}/app.toml").write_text(f"[billing]\nrate = {number}")
    stat = (tmp_path / "v1/app.toml").stat()
    os.utime(tmp_path / "v2/app.toml", ns=(stat.st_atime_ns, stat.st_mtime_ns))  # the time alone would not tell
    (tmp_path / "data").symlink_to("v1")
    (tmp_path / "app.toml").symlink_to("data/app.toml")
    found = configuration(tmp_path)
    billing = found.add(Billing, "billing")
    found.load()
    heard = _Heard()
    billing.on_change(heard)
    async with Scope("test") as scope:
        scope.spawn(found.watch(Quick()), name="watch")
        await Clock().sleep(0.1)
        if how == "written":
            (tmp_path / "app.toml").write_text("[billing]\nrate = 2")
        else:
            (tmp_path / "new").symlink_to("v2")
            (tmp_path / "new").replace(tmp_path / "data")
        while not heard.rates:
            await Clock().sleep(0.01)
    assert heard.rates == [2]


class _Heard:
    def __init__(self) -> None:
        self.rates: list[int] = []

    def __call__(self, now: Billing) -> None:
        self.rates.append(now.rate)


# -- as collaborators


async def test_options_change_and_a_model_holds_for_its_run(file: Path, tmp_path: Path) -> None:
    found, container = configuration(tmp_path), Container()
    provide_options(container, found, Billing, "billing")
    provide_options(container, found, Mail, "mail")
    found.load()

    async def body(changing: Options[Billing], fixed: Billing, mail: Mail) -> tuple[int, int, str]:
        return changing.current.rate, fixed.rate, mail.sender

    body.__annotations__.update({"changing": Options[Billing], "fixed": Billing, "mail": Mail})
    container.check([body])
    async with container.run() as call:
        assert await call(body) == (2, 2, "nobody")
        file.write_text("[billing]\nrate = 4\n[mail]\nsender = 'me'")  # noqa: ASYNC240
        assert found.reload()
        assert await call(body) == (4, 2, "nobody")  # of one moment, all of them
    async with container.run() as call:
        assert await call(body) == (4, 4, "me")
    await container.close()


def test_a_section_is_called_after_its_model() -> None:
    class GraceOptions(BaseModel):
        period: int = 30

    assert Host("billing").options(GraceOptions).section == "grace"
    assert Host("billing").options(GraceOptions, section="other").section == "other"


def test_the_defaults_alone_are_enough_where_there_are_no_files() -> None:
    host = Host("billing")
    assert host.options(Mail).current == Mail()
    assert host.reload()


@pytest.mark.parametrize("key", ["job_store", "state_store"])
def test_the_password_of_a_database_beside_is_shown_nowhere(tmp_path: Path, key: str) -> None:
    settings = Settings(
        name="billing",
        store=None,
        ttl=6.0,
        instance=None,
        hang_timeout=30.0,
        folder=tmp_path,
    )
    changed: Any = {key: "postgresql://ada:secret@db/jobs"}
    settings = dataclasses.replace(settings, **changed)
    shown = {one.key: one.value for one in Configuration(settings, Sources(tmp_path)).read().values}
    assert shown[f"locum.{key}"] == "postgresql://ada:***@db/jobs"
