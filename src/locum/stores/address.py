"""Where a server is, and as whom one connects: a store's URL, taken apart.

    scheme://[user[:password]@]host[:port][,host[:port]...][/path][?option=value&...]

What may change while instances run, a password and certificates, is read anew for every connection: so a changed one is
taken up by the next, without a restart. A secret stands in no `repr`, no error and no log.
"""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn
from urllib.parse import parse_qsl, quote, unquote

from locum.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Address", "Credentials"]

_URL: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?:(?P<login>[^/?#]*)@)?(?P<hosts>[^/?#@]*)(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?"
)
_HOST: Final = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:\s]+))(?::(?P<port>\d{1,5}))?")

_COMMON: Final = ("cafile", "certfile", "keyfile", "password_file", "tls")
_TLS: Final = ("off", "on", "no-host-name", "unverified")
_PASSWORD: Final = "LOCUM_STORE_PASSWORD"  # noqa: S105 - the name of a variable
_PASSWORD_FILE: Final = "LOCUM_STORE_PASSWORD_FILE"  # noqa: S105 - the name of a variable


class Credentials(NamedTuple):
    """As whom one connects, as of now; not to be kept."""

    user: str | None
    password: str | None

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, password={'None' if self.password is None else '***'})"


@dataclass(frozen=True, slots=True)
class Address:
    """One store's URL.

    Attributes:
        scheme: Its scheme.
        hosts: The servers: names or addresses, and ports.
        path: What follows them, unquoted, from its slash on; may be empty.
        user: As whom one connects; `None` if the URL does not say.
        options: What it says after the question mark.
    """

    scheme: str
    hosts: tuple[tuple[str, int], ...]
    path: str
    user: str | None
    options: Mapping[str, str]
    _password: str | None = field(repr=False)
    _encrypted: bool = field(repr=False)

    @classmethod
    def parse(cls, url: str, *, default_port: int, options: Iterable[str] = (), encrypted: bool = False) -> Address:
        """Take a URL apart.

        Args:
            url: The URL; names and passwords with special characters are percent-encoded.
            default_port: The port of a host that names none.
            options: The driver's own options; those of credentials and TLS every driver has.
            encrypted: Whether the scheme itself says that TLS is spoken.

        Raises:
            ConfigurationError: It is no such URL, or has an option that nobody knows.
        """
        parts = _URL.fullmatch(url)
        scheme = url.partition(":")[0]
        if parts is None or "@" in parts["path"] + (parts["query"] or ""):
            raise _unreadable(scheme, default_port)
        user, has_password, password = (parts["login"] or "").partition(":")
        address = cls(
            scheme,
            tuple(_host(one, scheme, default_port) for one in parts["hosts"].split(",")),
            unquote(parts["path"]),
            unquote(user) or None,
            _options(parts["query"] or "", scheme, sorted({*_COMMON, *options})),
            unquote(password) if has_password else None,
            encrypted,
        )
        address._demand_sense()
        return address

    @property
    def url(self) -> str:
        """The URL without secrets and options, for messages."""
        login = f"{quote(self.user, safe='')}@" if self.user else ""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        return f"{self.scheme}://{login}{hosts}{quote(self.path)}"

    def credentials(self) -> Credentials:
        """User and password as they are now: of the URL, of its `password_file`, of the environment.

        Raises:
            ConfigurationError: The file that shall hold the password is not readable.
        """
        if self._password is not None:
            return Credentials(self.user, self._password)
        path = self.options.get("password_file")
        if path is not None:
            return Credentials(self.user, _content(path, "the option password_file"))
        path = os.environ.get(_PASSWORD_FILE)
        if path:
            return Credentials(self.user, _content(path, f"the variable {_PASSWORD_FILE}"))
        return Credentials(self.user, os.environ.get(_PASSWORD) or None)

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is spoken."""
        return self._tls != "off"

    def tls(self) -> ssl.SSLContext | None:
        """How TLS is spoken, with the files as they are now; `None` if it is not spoken.

        Raises:
            ConfigurationError: A file is not there, or is not what it should be.
        """
        if not self.is_encrypted:
            return None
        cafile, certfile, keyfile = (self.options.get(name) for name in ("cafile", "certfile", "keyfile"))
        try:
            context = ssl.create_default_context(cafile=cafile)
            if certfile is not None:
                context.load_cert_chain(certfile, keyfile, password=_no_passphrase)
        except (OSError, ValueError) as error:  # SSLError is an OSError
            files = ", ".join(name for name in (cafile, certfile, keyfile) if name)
            raise ConfigurationError(f"the certificates of {self.url} cannot be used ({files}): {error}") from None
        if self._tls in ("no-host-name", "unverified"):
            context.check_hostname = False
        if self._tls == "unverified":
            context.verify_mode = ssl.CERT_NONE
        return context

    @property
    def _tls(self) -> str:
        named = any(name in self.options for name in ("cafile", "certfile", "keyfile"))
        return self.options.get("tls", "on" if self._encrypted or named else "off")

    def _demand_sense(self) -> None:
        if self._tls not in _TLS:
            raise ConfigurationError(f"tls={self._tls} is unknown to {self.url}: use one of {', '.join(_TLS)}")
        if self._encrypted and not self.is_encrypted:
            raise ConfigurationError(f"tls=off contradicts {self.scheme}:// in {self.url}: leave one of them out")
        if "keyfile" in self.options and "certfile" not in self.options:
            raise ConfigurationError(f"{self.url} names a keyfile without a certfile: name the certificate as well")
        if self._password is not None and "password_file" in self.options:
            raise ConfigurationError(f"{self.url} has a password and a password_file: leave one of them out")


def _unreadable(scheme: str, default_port: int) -> ConfigurationError:
    """Says nothing of what was written: what is in the wrong place there may be the password."""
    return ConfigurationError(
        f"the store's URL is not readable: write it like {scheme}://user:password@host:{default_port}, with an IPv6"
        " address in brackets, and '@', ':', '/', '?', '#' and '%' in users, passwords and options percent-encoded"
    )


def _host(text: str, scheme: str, default_port: int) -> tuple[str, int]:
    parts = _HOST.fullmatch(text)
    port = int(parts["port"] or default_port) if parts else 0
    if parts is None or not 0 < port < 65536:
        raise _unreadable(scheme, default_port)
    return parts["six"] or unquote(parts["name"]), port


def _options(query: str, scheme: str, known: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:  # its value is not repeated: it may be a secret
            raise ConfigurationError(f"the option {name!r} is unknown to {scheme}://: use {', '.join(known)}")
        if not value or name in found:
            raise ConfigurationError(f"the option {name!r} of {scheme}:// needs one value")
        found[name] = value
    return found


def _content(path: str, named_by: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(
            f"the password's file {path}, which {named_by} names, is not readable: {why}"
        ) from None
    return text.rstrip("\r\n")


def _no_passphrase() -> NoReturn:
    raise ValueError("the key is encrypted, and nobody is there to be asked for its passphrase: store it without one")
