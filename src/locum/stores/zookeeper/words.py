"""What a server says of itself to whoever asks with a word of four letters: its version, and its tick.

Which words it answers is its own affair (`4lw.commands.whitelist`): `srvr` if nothing else was set, `conf` where it is
let to. So nothing depends on an answer.
"""

from __future__ import annotations

import asyncio
import random
import re
from typing import TYPE_CHECKING, Final

from locum.stores.flaws import Flaw

if TYPE_CHECKING:
    from locum.stores.address import Address

__all__ = ["FLAWS", "tick", "version"]

FLAWS: Final = (
    Flaw(
        "in an ensemble, what was acknowledged may be lost where a member crashes while it catches up (ZOOKEEPER-4785)",
        (("3.6.0", "3.8.4"), ("3.9.0", "3.9.2")),
    ),
    Flaw(
        "in an ensemble, what was acknowledged may be lost where a member that lagged behind becomes the leader"
        " (ZOOKEEPER-4925)",
        (("3.9.3", "3.9.4"),),
    ),
)
"""What is known of versions: the first from the pull requests 1848, 2111, 2132 and 2133 of apache/zookeeper, in which a
transaction log that is not yet on the disk is acknowledged since 3.6.0 at the latest; the second from 2254 and 2266."""

_LARGEST: Final = 64 * 1024  # bytes of an answer
_VERSION: Final = re.compile(r"^Zookeeper version: (\d+\.\d+\.\d+)", re.MULTILINE)
_TICK: Final = re.compile(r"^tickTime=(\d+)$", re.MULTILINE)


async def version(address: Address, *, within: float) -> str | None:
    """The version of one of the servers, such as `3.8.0`; `None` if it does not tell."""
    found = _VERSION.search(await _asked(address, b"srvr", within))
    return found[1] if found else None


async def tick(address: Address, *, within: float) -> int | None:
    """How long a tick of one of the servers is, in ms; `None` if it does not tell."""
    found = _TICK.search(await _asked(address, b"conf", within))
    return int(found[1]) if found else None


async def _asked(address: Address, word: bytes, within: float) -> str:
    """What one of the servers answers; nothing, where it does not."""
    host, port = random.choice(address.hosts)  # noqa: S311 - hides nothing
    writer = None
    try:
        async with asyncio.timeout(within):
            reader, writer = await asyncio.open_connection(host, port, ssl=address.tls())
            writer.write(word)
            answer = b""
            while len(answer) < _LARGEST and (part := await reader.read(_LARGEST)):
                answer += part
            return answer.decode(errors="replace")
    except OSError:  # TimeoutError is one
        return ""
    finally:
        if writer is not None:
            writer.transport.abort()
