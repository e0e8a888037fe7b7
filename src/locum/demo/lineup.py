"""Who stands in line, and how an active is asked to resign: for the direction of the demo, never for the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locum.clock import seconds
from locum.coordination.line import Entry, line_prefix
from locum.coordination.request import Request, request_key
from locum.errors import StoreError
from locum.keeper.owner import Owner
from locum.names import join
from locum.registry import make_store
from locum.store import ANY

if TYPE_CHECKING:
    from locum.clock import Clock

__all__ = ["Lineup"]

SCOPE: Final = join("election", "grace_period")


class Lineup:
    """A look at Locum's store.

    Args:
        url: The store's.
        clock: For its deadlines.
    """

    def __init__(self, url: str, *, clock: Clock) -> None:
        self._store, self._clock = make_store(url, namespace="demo", clock=clock), clock

    async def open(self) -> None:
        """Open the store."""
        await self._store.open()

    async def close(self) -> None:
        """Close it."""
        await self._store.close()

    async def is_taken(self) -> bool:
        """Whether somebody lives there already: sessions that beat, or that the store itself does not end."""
        before = (await self._store.sessions()).by_id
        ttl = max((one.ttl for one in before.values()), default=0)
        until = self._clock.now() + 2 * ttl
        while before:
            await self._clock.sleep(seconds(ttl) / 2)
            after = (await self._store.sessions()).by_id
            alive = [one for one in after.values() if one.beat is None or one != before.get(one.id)]
            if not alive or self._clock.now() > until:
                return bool(alive)
            before = after
        return False

    async def names(self) -> list[str]:
        """The names of the instances in line, the active one included, in the line's order."""
        try:
            entries = [Entry.of(record) for record in (await self._store.list(line_prefix(SCOPE))).records]
            sessions = (await self._store.sessions([entry.session for entry in entries])).by_id
        except StoreError:
            return []  # not now; whoever asks will ask again
        found = [sessions[entry.session] for entry in entries]
        return [Owner.from_bytes(session.owner).name for session in found if session.is_open]

    async def ask_to_resign(self, token: int) -> None:
        """Ask the holder of a token for its planned end, as `locum resign` does.

        Raises:
            StoreError: The request could not be written.
        """
        request = Request(token, "was asked to resign")
        await self._store.write(request_key(SCOPE), request.to_bytes(), expect=ANY)
