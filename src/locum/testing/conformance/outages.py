"""A store that cannot be reached: every call ends in time, and says no more than it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pytest

from locum.errors import OutcomeUnknownError, StoreUnavailableError
from locum.store import ABSENT, ANY
from locum.testing.conformance.contract import Contract
from locum.testing.conformance.harness import Ability
from locum.testing.conformance.kit import CHANGES, call_of, heard, open_one, soon, together, turns

if TYPE_CHECKING:
    from locum.store import Store
    from locum.testing.conformance.contract import Connect
    from locum.testing.conformance.harness import StoreHarness

__all__ = ["OutageContract"]

_DEADLINE = 0.2


class OutageContract(Contract):
    """What is promised of calls while the store is cut off."""

    needs: ClassVar[tuple[Ability, ...]] = (Ability.CUT,)

    @pytest.mark.parametrize("call", CHANGES)
    async def test_every_change_ends_by_its_deadline_and_is_not_acknowledged(
        self, store: Store, place: StoreHarness, call: str
    ) -> None:
        mine, theirs = await open_one(store), await open_one(store)
        await store.write("a", b"", expect=ANY)
        store.call_timeout = _DEADLINE
        await place.cut()
        with pytest.raises((StoreUnavailableError, OutcomeUnknownError)):
            await soon(call_of(store, call, mine, theirs))
        await place.mend()

    @pytest.mark.parametrize("call", ["read", "list", "sessions", "health"])
    async def test_every_question_ends_by_its_deadline_with_or_without_an_answer(
        self, store: Store, place: StoreHarness, call: str
    ) -> None:
        store.call_timeout = _DEADLINE
        await place.cut()
        try:
            await soon(call_of(store, call, "", ""))
        except (StoreUnavailableError, OutcomeUnknownError):
            pass
        await place.mend()

    async def test_what_was_said_not_to_have_happened_never_happens(self, store: Store, place: StoreHarness) -> None:
        store.call_timeout = _DEADLINE
        await place.cut()
        unavailable = False
        try:
            await soon(store.write("a", b"", expect=ABSENT))
        except StoreUnavailableError:
            unavailable = True
        except OutcomeUnknownError:
            pass
        await place.mend()
        store.call_timeout = 10.0
        await store.write("later", b"", expect=ABSENT)
        assert not unavailable or await store.read("a") is None

    async def test_calls_that_still_run_end_when_the_store_is_closed(self, store: Store, place: StoreHarness) -> None:
        store.call_timeout = 1.0
        await place.cut()

        async def close() -> None:
            await turns()
            await store.close()

        written, _ = await soon(together(store.write("a", b"", expect=ANY), close()))
        assert isinstance(written, StoreUnavailableError | OutcomeUnknownError)
        await place.mend()

    async def test_it_works_again_when_it_is_reached_again(
        self, connect: Connect, store: Store, place: StoreHarness
    ) -> None:
        other = await connect()
        session = await open_one(store)
        kept = await store.write("p/kept", b"", expect=ABSENT)
        async with other.changes(["p/"]) as changes:
            store.call_timeout = _DEADLINE
            await place.cut()
            with pytest.raises((StoreUnavailableError, OutcomeUnknownError)):
                await soon(store.write("p/a", b"", expect=ANY))
            await place.mend()
            store.call_timeout = 10.0
            assert await store.read("p/kept") == kept
            await store.beat(session, 2**40)
            await store.write("p/b", b"", expect=ANY)
            await heard(other, changes)
