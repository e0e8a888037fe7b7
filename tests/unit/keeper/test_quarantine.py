"""The watch over a new incarnation: how long, from when on, and whose."""

from __future__ import annotations

from locum.keeper.memory import Memory
from locum.keeper.quarantine import Quarantine
from locum.store import Sessions

TTL = 6_000_000_000


def answer(incarnation: str = "a", *, quarantined: bool = True, max_ttl: int = TTL) -> Sessions:
    return Sessions({}, 1, incarnation, max_ttl, quarantined)


def test_it_is_lifted_after_the_longest_ttl_from_the_first_sight() -> None:
    quarantine = Quarantine()
    assert quarantine.see(answer(), arrived=100) is None
    assert quarantine.see(answer(), arrived=99 + TTL) is None
    assert quarantine.see(answer(), arrived=100 + TTL) == "a"


def test_a_longest_ttl_that_has_grown_counts_from_the_first_sight() -> None:
    quarantine = Quarantine()
    quarantine.see(answer(), arrived=0)
    assert quarantine.see(answer(max_ttl=2 * TTL), arrived=TTL) is None
    assert quarantine.see(answer(max_ttl=2 * TTL), arrived=2 * TTL) == "a"


def test_another_incarnation_begins_anew() -> None:
    quarantine = Quarantine()
    quarantine.see(answer(), arrived=0)
    assert quarantine.see(answer("b"), arrived=TTL) is None
    assert quarantine.see(answer("b"), arrived=2 * TTL) == "b"


def test_what_is_open_is_not_watched() -> None:
    quarantine = Quarantine()
    quarantine.see(answer(), arrived=0)
    assert quarantine.see(answer(quarantined=False), arrived=TTL) is None
    assert quarantine.see(answer(), arrived=TTL) is None, "one that was open in between is watched anew"


def test_a_memory_only_grows() -> None:
    memory = Memory()
    memory.see(token=7, max_ttl=TTL)
    memory.see(token=3, max_ttl=1)
    memory.see()
    assert memory == Memory(7, TTL)
