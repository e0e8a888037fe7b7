"""What a driver's tests give: how its stores are made, and what can be done to them."""

from __future__ import annotations

import enum
import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from locum.store import Store

__all__ = ["NOT_INSTALLED", "Ability", "StoreHarness", "demand_server", "wrong_skip"]

NOT_INSTALLED: Final = "server not installed"
"""How the only reason begins for which a contract is not tested."""


class Ability(enum.Enum):
    """What a harness may be able to do besides making stores; each value names its methods."""

    URL = ("url",)
    CUT = ("cut", "mend")
    WIPE = ("wipe",)
    PUT_BACK = ("save", "put_back")
    CRASH = ("crash",)


class StoreHarness(ABC):
    """One data source that is empty at first, for the length of one test.

    Attributes:
        cannot: Why the harness lacks an ability; each one is there or named here.

    Args:
        folder: An empty folder of this test's own.
    """

    cannot: ClassVar[Mapping[Ability, str]] = {}

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def start(self) -> None:
        """Begin; a server that is not there is told by `demand_server`."""
        return

    async def stop(self) -> None:
        """Clear everything away; all stores are closed by then."""
        return

    @abstractmethod
    def make(self, namespace: str) -> Store:
        """A connection of its own to the data source, not yet open."""

    def url(self) -> str:
        """The URL by which another process makes a store of the same data source."""
        raise NotImplementedError

    async def cut(self) -> None:
        """From now on no change reaches the store, and none is answered; nothing says so."""
        raise NotImplementedError

    async def mend(self) -> None:
        """It is reached again."""
        raise NotImplementedError

    async def wipe(self) -> None:
        """The store loses everything, as if it had never been; those who are connected to it are not told."""
        raise NotImplementedError

    async def save(self) -> None:
        """Keep a copy of all that the store holds."""
        raise NotImplementedError

    async def put_back(self) -> None:
        """The store is what it was at `save`; those who are connected to it are not told."""
        raise NotImplementedError

    async def crash(self) -> None:
        """The store ends at this moment, as by a kill, and is started again; connections may be lost."""
        raise NotImplementedError

    @classmethod
    def can(cls, ability: Ability) -> bool:
        """Whether it has an ability: all of its methods."""
        return all(getattr(cls, name) is not getattr(StoreHarness, name) for name in ability.value)


def demand_server(name: str, found: object) -> None:
    """Leave a test out whose server is not installed; with `CI=true` that fails, so that nothing is left out unseen.

    Args:
        name: What the server is called.
        found: Whether it is there.
    """
    if not found:
        _leave_out(f"{NOT_INSTALLED}: {name}")


def _leave_out(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def wrong_skip(reason: str) -> str | None:
    """Why a test of a contract may not be skipped for a reason; `None` if it may.

    Args:
        reason: As pytest tells it.
    """
    if NOT_INSTALLED not in reason:
        return f"a promise is held or not: it was skipped for {reason!r}, and only {NOT_INSTALLED!r} is a reason"
    if os.environ.get("CI") == "true":
        return f"with CI=true every server is there: {reason}"
    return None
