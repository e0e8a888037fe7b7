"""What a server says of itself, and what follows from that: whether it can be a store, and what it promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from locum.errors import StoreUnavailableError
from locum.stores.flaws import Flaw, flaws_of
from locum.stores.link import unusable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = ["Server"]

_LEAST: Final = (6, 2)
_NEVER_PROMOTED: Final = "0" * 40
_SCRIPTS: Final = "whoever may run scripts, as instances must, can take the server over (CVE-2025-49844)"
# the release notes of both: of 3 October 2025, and for Valkey its issue 3473 with its pull requests 2684 and 2686
_FLAWS: Final = {
    "redis": (
        Flaw(
            _SCRIPTS,
            (("6.2", "6.2.20"), ("7.0", "7.2.11"), ("7.4", "7.4.6"), ("8.0", "8.0.4"), ("8.2", "8.2.2")),
        ),
    ),
    "valkey": (Flaw(_SCRIPTS, (("7.2", "7.2.11"), ("8.0", "8.0.6"), ("8.1", "8.1.4"))),),
}


@dataclass(frozen=True, slots=True)
class Server:
    """One run of a server, as one connection found it.

    Attributes:
        version: What it is, with its version.
        run: The id of this run: another one is another process.
        weakness: Why it may lose what it has acknowledged, in words; `None` if it keeps it through a crash.
        flaws: What is known to be wrong with this version.
    """

    version: str
    run: str
    weakness: str | None
    flaws: str = ""

    @classmethod
    def of(cls, info: Mapping[str, str], *, fsync: str | None, url: str) -> Self:
        """Read what it says of itself.

        Args:
            info: Its answer to INFO.
            fsync: Its setting `appendfsync`; `None` if this user may not know.
            url: The store's URL, for messages.

        Raises:
            ConfigurationError: It cannot be a store.
            StoreUnavailableError: Not now.
        """
        name, version = info.get("server_name", "redis"), info.get("redis_version", "0")
        own = info.get(f"{name}_version", version)
        called = f"{ {'redis': 'Redis', 'valkey': 'Valkey'}.get(name, name) } {own}"
        if info.get("loading", "0") != "0":
            raise StoreUnavailableError(url, f"{called} still reads its files: it answers when it has")
        why = _objection(info, version, called)
        if why is not None:
            raise unusable(url, why)
        flaws = flaws_of(own, _FLAWS.get(name, ()))
        return cls(called, info.get("run_id", ""), _weakness(info, fsync), flaws)


def _objection(info: Mapping[str, str], version: str, called: str) -> str | None:
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if parts < _LEAST:
        return f"it is {called}, and {'.'.join(map(str, _LEAST))} or newer is needed: upgrade the server"
    mode = info.get("redis_mode", "standalone")
    if mode != "standalone":
        return f"{called} runs as {mode}: name a server that runs alone, or with replicas"
    if info.get("role", "master") != "master":
        return (
            f"{called} is a read-only replica of {info.get('master_host')}:{info.get('master_port')}: name its primary"
        )
    policy = info.get("maxmemory_policy", "noeviction")
    if policy.startswith("allkeys"):
        return (
            f"{called} throws away any key when its memory is full (maxmemory-policy {policy}), and would forget who is"
            " active: set maxmemory-policy to noeviction or one of volatile-*, or use another server"
        )
    return None


def _weakness(info: Mapping[str, str], fsync: str | None) -> str | None:
    if info.get("aof_enabled", "0") != "1":
        return "appendonly is off"
    if fsync is None:
        return "this user may not read appendfsync (+config|get)"
    if fsync != "always":
        return f"appendfsync is {fsync}"
    if info.get("connected_slaves", "0") != "0" or info.get("master_replid2", _NEVER_PROMOTED) != _NEVER_PROMOTED:
        return "a replica may be promoted that lacks the last writes"
    return None
