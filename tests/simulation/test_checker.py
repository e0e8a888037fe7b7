"""The checker itself: each thing that must never be, in a history made by hand, is seen."""

from __future__ import annotations

from typing import Any

import pytest

from locum.testing.simulation.checker import violations
from locum.testing.simulation.history import History
from locum.testing.simulation.loop import VirtualLoop

SECOND = 1_000_000_000


class Told:
    """A history that is told by the second; every clock is right."""

    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.history = History(self.loop)
        for name in ("a", "b"):
            self.history.note("machine", name, rate=1_000_000, offset=0, ttl=6 * SECOND)

    def at(self, second: float, kind: str, who: str, **facts: Any) -> None:
        self.loop.now = round(second * SECOND)
        self.history.note(kind, who, **facts)

    def lease(self, second: float, who: str, session: str) -> None:
        self.at(second, "lease", who, session=session, until=round((second + 5.1) * SECOND), ttl=6 * SECOND)

    def began(self, second: float, who: str, session: str, token: int) -> None:
        self.at(second, "began", who, session=session, token=token, local=round(second * SECOND))

    def finished(self, second: float, who: str, session: str, token: int) -> None:
        now = round(second * SECOND)
        self.at(second, "finished", who, session=session, token=token, how="ended", since=now, local=now)

    def found(self) -> list[str]:
        self.loop.close()
        return violations(self.history)


@pytest.fixture
def told() -> Told:
    told = Told()
    told.lease(0, "a", "one")
    told.lease(0, "b", "two")
    return told


def test_one_after_the_other_is_right(told: Told) -> None:
    told.began(1, "a", "one", 1)
    told.finished(2, "a", "one", 1)
    told.began(2, "b", "two", 2)
    told.at(3, "wrote", "b", token=2)
    told.finished(4, "b", "two", 2)
    assert told.found() == []


def test_two_bodies(told: Told) -> None:
    told.began(1, "a", "one", 1)
    told.began(2, "b", "two", 2)
    told.finished(2.5, "a", "one", 1)
    assert any("two bodies" in one for one in told.found())


def test_a_body_that_never_ends_overlaps_the_next(told: Told) -> None:
    told.began(1, "a", "one", 1)
    told.began(2, "b", "two", 2)
    assert any("two bodies" in one for one in told.found())


def test_a_falling_token(told: Told) -> None:
    told.began(1, "a", "one", 2)
    told.finished(2, "a", "one", 2)
    told.began(3, "b", "two", 2)
    assert any("falling token" in one for one in told.found())


def test_a_token_granted_twice(told: Told) -> None:
    for second in (1, 2):
        told.at(second, "granted", "store", token=1, session="one")
    assert any("falling token" in one for one in told.found())


@pytest.mark.parametrize("kind", ["wrote", "read", "raised"])
def test_a_stale_write(told: Told, kind: str) -> None:
    told.at(1, kind, "b", token=2)
    told.at(2, "wrote", "a", token=1)
    assert any("stale write" in one for one in told.found())


def test_a_body_beyond_its_deadline(told: Told) -> None:
    told.began(1, "a", "one", 1)
    told.finished(5.2, "a", "one", 1)
    assert any("beyond its deadline" in one for one in told.found())


def test_a_beat_moves_the_deadline_from_its_sending(told: Told) -> None:
    told.began(1, "a", "one", 1)
    told.at(4, "renewed", "a", session="one", sent=1 * SECOND)
    told.finished(6, "a", "one", 1)
    assert told.found() == []


def test_a_close_that_comes_too_early(told: Told) -> None:
    told.at(5, "closed", "store", session="one", observed=True, why="")
    assert any("too early" in one for one in told.found())


def test_an_owner_may_close_at_any_time(told: Told) -> None:
    told.at(1, "closed", "store", session="one", observed=False, why="")
    assert told.found() == []


@pytest.mark.parametrize("kind", ["opened", "beat", "bound"])
def test_a_dead_session_that_lives(told: Told, kind: str) -> None:
    told.at(1, "closed", "store", session="one", observed=False, why="")
    told.at(2, kind, "store", session="one")
    assert any("dead session" in one for one in told.found())


def test_a_store_that_was_put_back_has_forgotten_the_dead(told: Told) -> None:
    told.at(1, "closed", "store", session="one", observed=False, why="")
    told.at(2, "restored", "store")
    told.at(3, "beat", "store", session="one")
    assert told.found() == []
