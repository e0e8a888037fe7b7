"""The store's identity: what is there, how it is made, and how a new incarnation begins (R24, R25)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from locum.errors import SchemaError, StoreUnavailableError
from locum.names import random_id
from locum.store import INCARNATION, Seen
from locum.stores.sight import RENEWED, difference, is_successor, revision_above
from locum.stores.sql.words import OPEN, QUARANTINE, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locum.stores.sql.asking import Asking
    from locum.stores.sql.connection import PostgresConnection

__all__ = ["Incarnations"]


class Incarnations:
    """Those of one store.

    Args:
        url: The store's URL, for messages.
        asking: How the server is asked.
    """

    def __init__(self, url: str, asking: Asking) -> None:
        self._url, self._asking = url, asking

    async def adopt(self, before: Seen | None, *, max_ttl: int) -> Seen:
        """What is to be seen from now on: the store as it stands, or a new incarnation of it."""
        while True:
            found = await self.look("adopt") or await self.make("adopt", before)
            if difference(before, found) is None:
                return found
            if before is not None and is_successor(found, before):
                followed = await self._asking.ask_as_it_is(
                    "adopt", self._asking.say.follow, changes=True, found=found.incarnation, max_ttl=max_ttl
                )
                if followed and followed[0]["told"]:
                    return found
                continue
            begun = await self._begin("adopt", found, before, max_ttl)
            if begun is not None:
                return begun

    async def renew(self, before: Seen | None, *, max_ttl: int) -> Seen:
        """A new incarnation, whatever was there."""
        while True:
            found = await self.look("renew") or await self.make("renew", before)
            begun = await self._begin("renew", found, before, max_ttl)
            if begun is not None:
                return begun

    async def lift_quarantine(self, incarnation: str) -> bool:
        """Open an incarnation for grants; whether that was done just now."""
        lift = self._asking.say.lift
        row = await self._asking.change("lift_quarantine", lift, which=incarnation, incarnation_key=INCARNATION)
        return row is not None

    async def look(self, call: str) -> Seen | None:
        """What is there, whatever was seen; `None` if nothing is.

        Raises:
            SchemaError: It was written by a newer release.
        """
        from locum.stores.sql.faults import is_gone

        async def work(connection: PostgresConnection) -> Sequence[Any]:
            try:
                return await connection.fetch(self._asking.say.look, {})
            except Exception as error:
                if is_gone(error):
                    return ()
                raise

        rows = await self._asking.do(call, work, changes=False)
        if not rows:
            return None
        if rows[0]["least_reader"] > SCHEMA:
            raise SchemaError(self._url, rows[0]["least_reader"], SCHEMA)
        return Seen(rows[0]["incarnation"], rows[0]["revision"])

    async def make(self, call: str, seen: Seen | None) -> Seen:
        """Make the tables and a store; in quarantine, if one was there before (R25). Whoever comes second finds it."""
        from locum.stores.sql.faults import is_gone

        say = self._asking.say
        state, revision = (OPEN, 0) if seen is None else (QUARANTINE, revision_above(seen.revision))
        first = {"new": random_id(), "revision": revision, "state": state}
        # two who make the same at once: one fails
        turn = f"SELECT pg_advisory_xact_lock(hashtext('{self._asking.space}'))"
        script = ";\n".join([turn, *say.definition()])

        async def work(connection: PostgresConnection) -> None:
            try:
                await connection.fetch(say.first, first)  # an owner may have made the tables
            except Exception as error:
                if not is_gone(error):
                    raise
                await connection.run(script)
                await connection.fetch(say.first, first)

        await self._asking.do(call, work, changes=True)
        made = await self.look(call)
        if made is None:
            raise StoreUnavailableError(self._url, "what was just made is gone again; see who else writes to it")
        return made

    async def _begin(self, call: str, found: Seen, before: Seen | None, max_ttl: int) -> Seen | None:
        """Begin a new incarnation in the place of the one found; `None` if somebody else was first."""
        rows = await self._asking.ask_as_it_is(
            call,
            self._asking.say.begin,
            changes=True,
            found=found.incarnation,
            new=random_id(),
            above=revision_above(found.revision, before.revision if before else 0),
            max_ttl=max_ttl,
            reason=RENEWED,
        )
        return Seen(rows[0]["incarnation"], rows[0]["revision"]) if rows else None
