"""The checker itself: each thing that must never be, in a history made by hand, is seen."""

from __future__ import annotations

from typing import Any

import pytest

from locum.testing.simulation.checker import violations
from locum.testing.simulation.history import History
from locum.testing.simulation.loop import VirtualLoop

SECOND = 1_000_000_000
SCOPE = "election/work"


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

    def began(self, second: float, who: str, session: str, token: int, scope: str = SCOPE) -> None:
        self.at(second, "began", who, scope=scope, session=session, token=token, local=round(second * SECOND))

    def finished(self, second: float, who: str, session: str, token: int, scope: str = SCOPE) -> None:
        now = round(second * SECOND)
        facts = {"scope": scope, "session": session, "token": token}
        self.at(second, "finished", who, **facts, how="ended", since=now, local=now)

    def granted(self, second: float, token: int, attempt: str, scope: str = SCOPE) -> None:
        self.at(second, "granted", "store", scope=scope, token=token, session="one", attempt=attempt)

    def landed(self, second: float, revision: int, value: int, kind: str = "landed") -> None:
        self.at(second, kind, "store", key="counter", revision=revision, value=str(value))

    def kept(self, second: float, version: int, value: int) -> None:
        self.at(second, "kept", "a", version=version, value=str(value))

    def shown(self, second: float, version: int, life: str = "a.worker") -> None:
        self.at(second, "shown", "a", life=life, version=version)

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
    told.at(3, "wrote", "b", scope=SCOPE, token=2)
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


def test_bodies_of_two_scopes_have_nothing_to_do_with_each_other(told: Told) -> None:
    told.began(1, "a", "one", 5)
    told.began(2, "b", "two", 1, "lock/ledger")
    told.at(3, "wrote", "b", scope="lock/ledger", token=1)
    told.granted(3, 5, "x")
    told.granted(3, 1, "y", "lock/ledger")
    told.finished(4, "b", "two", 1, "lock/ledger")
    told.finished(4, "a", "one", 5)
    assert told.found() == []


def test_two_who_hold_one_lock(told: Told) -> None:
    told.began(1, "a", "one", 1, "lock/ledger")
    told.began(2, "a", "one", 2, "lock/ledger")  # of one process, and even of one session
    told.finished(3, "a", "one", 1, "lock/ledger")
    assert any("two bodies" in one for one in told.found())


def test_a_holder_may_write_its_grant_anew(told: Told) -> None:
    told.granted(1, 1, "x", "lock/ledger")
    told.granted(2, 1, "x", "lock/ledger")
    assert told.found() == []


@pytest.mark.parametrize(("kind", "later"), [("landed", 2), ("landed", 1), ("valued", 1)])
def test_a_lost_write(told: Told, kind: str, later: int) -> None:
    told.landed(1, 10, 2, kind)
    told.landed(2, 11, later, kind)
    assert any("a lost write" in one for one in told.found())


def test_a_write_that_was_acknowledged_and_never_landed(told: Told) -> None:
    told.landed(1, 10, 1)
    told.kept(1, 10, 1)
    told.kept(2, 11, 2)
    assert [one.partition(" as")[0] for one in told.found()] == ["a lost write: 2 was acknowledged to a"]


def test_a_store_that_was_put_back_counts_anew(told: Told) -> None:
    told.landed(1, 10, 2)
    told.at(2, "restored", "store")
    told.landed(3, 9, 1)
    told.kept(3, 10, 2)  # its answer took long
    told.shown(3, 10)
    told.shown(4, 9)
    assert told.found() == []


def test_a_watch_that_shows_an_older_state_after_a_newer_one(told: Told) -> None:
    told.landed(1, 10, 1)
    told.landed(1, 11, 2)
    told.shown(2, 11)
    told.shown(2, 11, "b.worker")
    told.shown(3, 10)
    assert [one.partition(":")[0] for one in told.found()] == ["shown out of order"]


def test_a_falling_token(told: Told) -> None:
    told.began(1, "a", "one", 2)
    told.finished(2, "a", "one", 2)
    told.began(3, "b", "two", 2)
    assert any("falling token" in one for one in told.found())


def test_a_token_granted_twice(told: Told) -> None:
    for second in (1, 2):
        told.granted(second, 1, attempt=str(second))
    assert any("falling token" in one for one in told.found())


@pytest.mark.parametrize("kind", ["wrote", "read", "raised"])
def test_a_stale_write(told: Told, kind: str) -> None:
    told.at(1, kind, "b", scope=SCOPE, token=2)
    told.at(2, "wrote", "a", scope=SCOPE, token=1)
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
