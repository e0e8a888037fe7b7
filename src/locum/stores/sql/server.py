"""What a server says of itself, and what follows from that: whether it can be a store, and what it promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from locum.errors import StoreUnavailableError
from locum.stores.flaws import Flaw, flaws_of
from locum.stores.link import unusable

if TYPE_CHECKING:
    from typing import Self

    import asyncpg

__all__ = ["Server"]

_LEAST: Final = 130000
# in both notes, of 11 November 2021, it is the third entry, for which standbys are to be updated before their primary
_FLAWS: Final = (
    Flaw(
        "a standby may not follow a primary that crashed in the middle of a record (release notes of 13.5 and 14.1)",
        (("13", "13.5"), ("14", "14.1")),
    ),
)


@dataclass(frozen=True, slots=True)
class Server:
    """A server, as one connection found it.

    Attributes:
        version: What it is, with its version.
        pooled: Whether a pooler stands between it and us, so that it cannot tell us anything by itself.
        syncs: Whether what it has acknowledged survives a crash.
        flaws: What is known to be wrong with this version.
    """

    version: str
    pooled: bool
    syncs: bool
    flaws: str = ""

    @classmethod
    def of(cls, found: asyncpg.Record, *, pooled: bool, url: str) -> Self:
        """Read what it says of itself.

        Raises:
            ConfigurationError: It cannot be a store.
            StoreUnavailableError: Not now.
        """
        version = " ".join(str(found["version"]).split(" ")[:2])
        if found["number"] < _LEAST:
            raise unusable(url, f"it is {version}, and {_LEAST // 10000} or newer is needed: upgrade the server")
        if found["standby"]:
            raise StoreUnavailableError(url, "it is a standby, which cannot be written to: name its primary")
        flaws = flaws_of(version.partition(" ")[2], _FLAWS)
        return cls(version, pooled, bool(found["syncs"]), flaws)
