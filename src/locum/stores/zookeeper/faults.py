"""What a server's refusals and a broken connection mean: one sentence each, which says what to do next."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from locum.errors import StoreUnavailableError
from locum.stores.zookeeper import protocol
from locum.stores.zookeeper.connection import ExpiredError
from locum.stores.zookeeper.protocol import Refusal

if TYPE_CHECKING:
    from locum.errors import LocumError

__all__ = ["in_words"]


def in_words(error: Exception, url: str) -> str | LocumError:
    """What a failure means: a sentence if the call is in doubt, an error if it was refused."""
    if isinstance(error, Refusal):
        if error.code == protocol.NO_AUTH:
            return StoreUnavailableError(url, "its user may not do that: see the rights in the store's documentation")
        return f"the server answers {error}: see its log"
    if isinstance(error, ExpiredError):
        return "the ZooKeeper session has expired: another one is opened"
    if isinstance(error, ssl.SSLError):
        return f"TLS is refused: {error.reason or error}; look at the certificates, and whether that port speaks TLS"
    if isinstance(error, EOFError):
        return "the server hung up: see its log, and whether its port speaks what the URL says"
    if isinstance(error, OSError):
        return f"no server is reached ({error.strerror or error}): look at host and port, and whether one runs there"
    return f"{type(error).__name__}: {error}"
