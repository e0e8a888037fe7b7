"""What a `zookeeper://` URL may say after its question mark, besides what every store's may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locum.errors import ConfigurationError

if TYPE_CHECKING:
    from locum.stores.address import Address

__all__ = ["OPTIONS", "told_reader", "told_tick"]

_READER: Final = "reader"
_TICK: Final = "tick_time"
OPTIONS: Final = (_READER, _TICK)
"""The names of all of them."""


def told_reader(address: Address) -> tuple[str, str] | None:
    """Who else may read what is made with a login: a scheme of ZooKeeper's and an id; `None` if nobody."""
    found = address.options.get(_READER)
    if found is None:
        return None
    scheme, _, name = found.partition(":")
    if not scheme or not name:
        raise ConfigurationError(
            f"the option {_READER} of {address.url} names nobody: write it like digest:onlooker:HASH, or world:anyone"
        )
    # in a query a plus is a blank, of which no digest has any: so a HASH may be written as it is
    return scheme, name.replace(" ", "+") if scheme == "digest" else name


def told_tick(address: Address) -> int | None:
    """The servers' `tickTime` in ms; `None` if it is not told."""
    found = address.options.get(_TICK)
    if found is None:
        return None
    if not found.isdecimal() or not int(found):
        raise ConfigurationError(f"the option {_TICK} of {address.url} is no number of milliseconds")
    return int(found)
