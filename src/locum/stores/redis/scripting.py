"""How a call becomes a script: on its connection, compared with what was seen, told in our errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from locum.store import Seen
from locum.stores.redis.scripts import script
from locum.stores.sight import difference

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.stores.link import Link
    from locum.stores.redis.connection import RedisConnection
    from locum.stores.redis.server import Server
    from locum.stores.sight import Sight

__all__ = ["Answer", "Scripting"]

_RESTARTED: Final = "its server was started anew or exchanged, and may have lost what it had acknowledged ({})"


class Answer:
    """What a script said.

    Attributes:
        how: How it went: `ok`, or why not.
        found: What is there now; `None` if nothing is.
        rest: What else it said.
    """

    __slots__ = ("found", "how", "rest")

    def __init__(self, said: list[Any]) -> None:
        self.how: bytes = said[0]
        self.found = Seen(said[1].decode(), int(said[2])) if said[1] else None
        self.rest: list[Any] = said[3:]


class Scripting:
    """Runs the scripts of one store.

    Args:
        prefix: What all keys begin with, with the hash tag.
        namespace: Whose sessions and records these are.
        sight: What this process has seen of the store.
        timeout: Asked for the seconds that a call may take.
    """

    def __init__(self, prefix: str, namespace: str, sight: Sight, timeout: Callable[[], float]) -> None:
        self._sight, self._timeout = sight, timeout
        self._keys = (prefix.encode(), f"{prefix}/{namespace}".encode())
        self.channels = (self._keys[0] + b":changes", self._keys[1] + b"/changes")
        self.server: Server | None = None
        self._run: str | None = None

    async def ask(
        self, link: Link[RedisConnection], name: str, *values: str | bytes, changes: bool, call: str
    ) -> Answer:
        """Run a script for a caller who has seen the store.

        Raises:
            StoreReplacedError: It is not the store that was seen; nothing was done.
        """
        seen = self._sight.demand()
        assert seen is not None  # noqa: S101 - every call comes after `open`

        async def work(connection: RedisConnection) -> Answer:
            if (why := self.restarted(connection)) is not None:
                raise self._sight.replaced(why)
            return await self.run_on(connection, name, seen, values)

        answer = await link.call(call, work, timeout=self._timeout(), changes=changes)
        if answer.how == b"replaced":
            found = "it is gone" if answer.found is None else _difference(seen, answer.found)
            raise self._sight.replaced(found, seen=seen)
        if answer.found is not None:
            self._sight.note(answer.found)
        return answer

    async def ask_as_it_is(
        self, link: Link[RedisConnection], name: str, *values: str | bytes, changes: bool, call: str
    ) -> Answer:
        """Run a script that compares nothing, whatever is there."""

        async def work(connection: RedisConnection) -> Answer:
            return await self.run_on(connection, name, None, values)

        return await link.call(call, work, timeout=self._timeout(), changes=changes)

    def restarted(self, connection: RedisConnection) -> str | None:
        """Why what is there may have lost something, in words; `None` if it cannot have.

        A server that may lose what it has acknowledged is believed only for as long as it runs (R24, R26).
        """
        server = connection.server
        if server.weakness is not None and self._run is not None and server.run != self._run:
            return _RESTARTED.format(server.weakness)
        self._run = server.run
        return None

    def take_up(self) -> None:
        """Believe the server that runs now."""
        self._run = None if self.server is None else self.server.run

    async def run_on(
        self, connection: RedisConnection, name: str, seen: Seen | None, values: tuple[str | bytes, ...]
    ) -> Answer:
        """Run a script on a connection that is ours."""
        self.server = connection.server
        before = ("", "") if seen is None else (seen.incarnation, str(seen.revision))
        given = [value if isinstance(value, bytes) else value.encode() for value in (*before, *values)]
        return Answer(await connection.run(script(name), self._keys, given))


def _difference(seen: Seen, found: Seen) -> str:
    return difference(seen, found) or "it was another one for a moment"
