"""What a server's refusals and a broken connection mean: one sentence each, which says what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locum.stores.link import unusable
from locum.stores.network import in_words as network_in_words
from locum.stores.zookeeper import protocol
from locum.stores.zookeeper.connection import ExpiredError
from locum.stores.zookeeper.protocol import Refusal

if TYPE_CHECKING:
    from locum.errors import LocumError

__all__ = ["in_words"]

_WRONG: Final = {
    protocol.NO_AUTH: "its user may not do that, or the password is another one: see the rights in the documentation of"
    " this store",
    protocol.UNIMPLEMENTED: "it is older than ZooKeeper 3.6, which has what is needed first: upgrade the server",
}
"""What was never right."""


def in_words(error: Exception, url: str) -> str | LocumError:
    """What a failure means: a sentence if the call is in doubt, an error if it was refused."""
    if isinstance(error, Refusal):
        if error.code in _WRONG:
            return unusable(url, _WRONG[error.code])
        if error.code == protocol.SESSION_MOVED:
            return "the session has gone on at another of its servers: it is connected to anew"
        return f"it answers {error}: see its log"
    if isinstance(error, ExpiredError):
        return "the ZooKeeper session has expired: another one is opened"
    if isinstance(error, EOFError):
        return "it hung up: see its log, and whether its port speaks what the URL says"
    return network_in_words(error, url)
