"""A store's URL: what is read from it, when its secrets are read, and that none of them is ever said."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from locum.errors import ConfigurationError
from locum.stores.address import Address
from tests.servers.certificates import Certificates

CANARY = "c4n4ry/:@?#%"
QUOTED = "c4n4ry%2F%3A%40%3F%23%25"


def parse(url: str, **more: Any) -> Address:
    return Address.parse(url, default_port=6379, **more)


@pytest.mark.parametrize(
    ("url", "hosts", "path", "user"),
    [
        ("redis://localhost", (("localhost", 6379),), "", None),
        ("redis://user@10.0.0.1:7000/2", (("10.0.0.1", 7000),), "/2", "user"),
        ("redis://[::1]:7000", (("::1", 7000),), "", None),
        ("zookeeper://a,b:2182,[fe80::1]/up/down", (("a", 6379), ("b", 2182), ("fe80::1", 6379)), "/up/down", None),
        ("redis://o%27neil%40home@h/a%20b", (("h", 6379),), "/a b", "o'neil@home"),
    ],
)
def test_a_url_is_taken_apart(url: str, hosts: tuple[tuple[str, int], ...], path: str, user: str | None) -> None:
    address = parse(url)
    assert (address.hosts, address.path, address.user) == (hosts, path, user)
    again = parse(address.url)
    assert (again.hosts, again.path, again.user) == (hosts, path, user), "what is said of it is a URL"


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://:s3cret@",
        "redis://h:0",
        "redis://h:70000",
        "redis://h:s3cret",
        "redis://u:s3cret/x@h",
        "redis://u:1/s3cret@h",
        "redis://u:1?s3cret@h",
        "redis://u:1#s3cret@h",
        "redis://u:s3cret@h,",
        "redis://u:s3cret@[::1",
        "redis://u:s3cret@h?password=s3cret",
        "redis://u:s3cret@h?tls=off&tls=on",
        "redis://u:s3cret@h?tls=perhaps",
        "redis://u:s3cret@h?cafile=",
        "redis://u:s3cret@h?keyfile=/k",
        "redis://u:s3cret@h?password_file=/p",
    ],
)
def test_what_is_no_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        parse(url)
    assert "s3cret" not in str(refusal.value)


def test_an_unknown_option_is_told_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"'pool' is unknown to redis://: use cafile, .*, tick"):
        parse("redis://h?pool=3", options=["tick"])
    assert parse("redis://h?tick=3", options=["tick"]).options == {"tick": "3"}


def test_a_password_is_said_nowhere() -> None:
    address = parse(f"redis://user:{QUOTED}@h:1/0")
    assert address.credentials() == ("user", CANARY)
    for said in (address, address.url, address.credentials(), [address.credentials()]):
        assert "c4n4ry" not in f"{said}{said!r}"


def test_a_password_is_read_anew_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    for address in (parse(f"redis://u@h?password_file={file}"), parse("redis://u@h")):
        monkeypatch.setenv("LOCUM_STORE_PASSWORD_FILE", str(file))
        for password in ("first", "second"):
            file.write_text(f"{password}\n")
            assert address.credentials() == ("u", password)
        file.unlink()
        with pytest.raises(ConfigurationError, match=f"{file}, which .* names, is not readable: No such file"):
            address.credentials()
    monkeypatch.delenv("LOCUM_STORE_PASSWORD_FILE")
    monkeypatch.setenv("LOCUM_STORE_PASSWORD", "third")
    assert address.credentials() == ("u", "third")
    assert parse("redis://u:mine@h").credentials() == ("u", "mine"), "the URL's own comes first"
    monkeypatch.delenv("LOCUM_STORE_PASSWORD")
    assert address.credentials() == ("u", None)


def test_tls_is_what_the_url_says(tmp_path: Path) -> None:
    ca = Certificates(tmp_path).authority
    assert parse("redis://h").tls() is None
    assert parse(f"redis://h?cafile={ca}&tls=off").tls() is None
    for address in (parse(f"redis://h?cafile={ca}"), parse(f"rediss://h?cafile={ca}", encrypted=True)):
        context = address.tls()
        assert context is not None
        assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    by_chain, by_nobody = (
        parse(f"redis://h?cafile={ca}&tls=no-host-name").tls(),
        parse("redis://h?tls=unverified").tls(),
    )
    assert by_chain is not None
    assert by_nobody is not None
    assert (by_chain.check_hostname, by_chain.verify_mode) == (False, ssl.CERT_REQUIRED)
    assert by_nobody.verify_mode is ssl.CERT_NONE
    with pytest.raises(ConfigurationError, match="tls=off contradicts rediss://"):
        parse("rediss://h?tls=off", encrypted=True)


def test_certificates_are_read_anew_each_time(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificate, key = certificates.client("me")
    address = parse(f"rediss://h?cafile={certificates.authority}&certfile={certificate}&keyfile={key}", encrypted=True)
    assert address.tls() is not address.tls()
    certificate.unlink()
    with pytest.raises(ConfigurationError, match=f"cannot be used .*{certificate}.*No such file"):
        address.tls()
    certificates.client("me")
    assert address.tls() is not None


def test_nobody_is_asked_for_the_passphrase_of_a_key(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as how

    certificates = Certificates(tmp_path)
    certificate, key = certificates.client("me")
    plain = how.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        plain.private_bytes(how.Encoding.PEM, how.PrivateFormat.PKCS8, how.BestAvailableEncryption(b"passphrase"))
    )
    with pytest.raises(ConfigurationError, match="the key is encrypted"):
        parse(f"redis://h?cafile={certificates.authority}&certfile={certificate}&keyfile={key}").tls()
