"""What was seen of a store, where another one is taken up while calls are on their way."""

from __future__ import annotations

import pytest

from locum.errors import StoreReplacedError, StoreUnavailableError
from locum.store import Seen
from locum.stores.sight import LEAP, Sight

BEFORE, AFTER, LATER = Seen("a", 5), Seen("b", LEAP), Seen("c", 2 * LEAP)


@pytest.fixture
def sight() -> Sight:
    made = Sight("memory://unit")
    made.adopt(BEFORE)
    return made


def test_what_was_found_is_said_at_every_call_until_it_is_taken_up(sight: Sight) -> None:
    with pytest.raises(StoreReplacedError):
        sight.compare(sight.demand(), AFTER)
    with pytest.raises(StoreReplacedError):
        sight.demand()
    sight.adopt(AFTER)
    assert sight.demand() == AFTER


@pytest.mark.parametrize("taken_up", [AFTER, Seen("a", 3)])
def test_r24_a_call_that_began_before_another_store_was_taken_up_finds_no_news(sight: Sight, taken_up: Seen) -> None:
    """Its answer took long: nothing was done, and whoever asks again is answered."""
    seen = sight.demand()
    sight.adopt(taken_up)
    with pytest.raises(StoreUnavailableError, match="it was taken up anew while the answer came; ask again"):
        sight.compare(seen, AFTER)
    assert sight.demand() == taken_up


def test_r24_a_third_store_is_found_by_the_next_call(sight: Sight) -> None:
    seen = sight.demand()
    sight.adopt(AFTER)
    with pytest.raises(StoreUnavailableError):
        sight.compare(seen, LATER)
    with pytest.raises(StoreReplacedError):
        sight.compare(sight.demand(), LATER)
