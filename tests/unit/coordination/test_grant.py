"""The one record that decides: round trips, and what is refused to be read as one."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from locum.coordination.grant import Grant, Holder, Past, Reserved, grant_key
from locum.errors import CorruptRecordError
from locum.store import Record

HOLDER = Holder("s" * 32, "a" * 32, "web-1", "2026-01-01T00:00:00+00:00")
PAST = Past("b" * 32, "web-2", "2026-01-01T00:00:00+00:00", "was killed (SIGKILL)", 2**62, "boot/pid/time")
RESERVED = Reserved("web-3", 6_000_000_000)


def record(value: bytes, revision: int = 9) -> Record:
    return Record("grant/election/settlement", value, revision, 1, None)


@pytest.mark.parametrize(
    "grant",
    [Grant(), Grant(2**63 - 1, HOLDER), Grant(4, None, PAST), Grant(4, HOLDER, PAST), Grant(4, None, PAST, RESERVED)],
    ids=str,
)
def test_a_grant_comes_back_as_it_was_with_the_records_revision(grant: Grant) -> None:
    found = Grant.of(record(grant.to_bytes()))
    assert found == grant
    assert found.revision == 9


def test_no_record_is_a_vacant_grant() -> None:
    assert Grant.of(None) == Grant(0, None, None)
    assert Grant.of(None).revision == 0


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b"null",
        b"7",
        b"[]",
        b"{}",
        b'"text"',
        b'{"token": 1}',
        b'{"token": null, "holder": null, "past": null}',
        b'{"token": "x", "holder": null, "past": null}',
        b'{"token": Infinity, "holder": null, "past": null}',
        b'{"token": NaN, "holder": null, "past": null}',
        b'{"token": 1, "holder": {}, "past": null}',
        b'{"token": 1, "holder": "me", "past": null}',
        b'{"token": 1, "holder": {"session": "s"}, "past": null}',
        b'{"token": 1, "holder": null, "past": {"more": 1}}',
        b'{"token": 1, "holder": null, "past": [1]}',
        b'{"token": 1, "holder": null, "past": null, "reserved": "web-3"}',
        b'{"token": 1, "holder": null, "past": null, "reserved": {"instance": "web-3"}}',
        b'{"token": 1, "holder": null, "past": null, "reserved": {"instance": "web-3", "wait": "long"}}',
    ],
)
def test_what_is_no_grant_is_told_by_its_key_and_what_to_do(value: bytes) -> None:
    with pytest.raises(CorruptRecordError, match=r"grant/election/settlement is not readable.*look at it") as refusal:
        Grant.of(record(value))
    assert refusal.value.key == "grant/election/settlement"


@pytest.mark.parametrize(("token", "floor", "taken"), [(0, 0, 1), (5, 0, 6), (5, 9, 10), (9, 5, 10), (5, 5, 6)])
def test_a_take_has_the_next_token_above_both(token: int, floor: int, taken: int) -> None:
    assert Grant(token, None, PAST).taken_by(HOLDER, floor=floor) == Grant(taken, HOLDER)


def test_a_release_keeps_the_token_and_tells_how() -> None:
    assert Grant(5, HOLDER, revision=3).given_up(PAST) == Grant(5, None, PAST)


def test_a_transfer_is_a_release_reserved_for_one_and_the_next_take_clears_that() -> None:
    left = Grant(5, HOLDER, revision=3).given_up(PAST, RESERVED)
    assert left == Grant(5, None, PAST, RESERVED)
    assert left.taken_by(HOLDER, floor=0) == Grant(6, HOLDER)
    assert left.given_up(PAST) == Grant(5, None, PAST)


def test_a_record_of_before_there_were_reservations_has_none() -> None:
    found = Grant.of(record(b'{"token": 4, "holder": null, "past": null}'))
    assert found == Grant(4)
    assert Grant.of(record(b'{"token": 4, "holder": null, "past": null, "reserved": null}')) == Grant(4)


def test_what_a_later_release_adds_is_left_out() -> None:
    value = json.loads(Grant(4, None, PAST, RESERVED).to_bytes())
    value["more"] = value["reserved"]["more"] = {"x": 1}
    assert Grant.of(record(json.dumps(value).encode())) == Grant(4, None, PAST, RESERVED)


def test_who_holds_it_and_who_is_done_with_it() -> None:
    held = Grant(1, HOLDER)
    assert held.is_held_by("a" * 32)
    assert held.is_done_with("a" * 32)
    assert not held.is_held_by("b" * 32)
    assert not held.is_done_with("b" * 32)
    given_up = Grant(1, None, PAST)
    assert not given_up.is_held_by("b" * 32)
    assert given_up.is_done_with("b" * 32)
    assert not Grant().is_done_with("a" * 32)


def test_two_grants_are_the_same_whatever_their_revision() -> None:
    assert Grant(1, HOLDER, revision=1) == Grant(1, HOLDER, revision=2)
    assert Grant(1, HOLDER) != Grant(1, replace(HOLDER, attempt="c" * 32))


def test_the_key_of_a_grant() -> None:
    assert grant_key("election/settlement") == "grant/election/settlement"


def test_the_value_is_json_without_the_revision() -> None:
    value: dict[str, Any] = json.loads(Grant(5, HOLDER, revision=7).to_bytes())
    assert set(value) == {"token", "holder", "past"}


def test_a_record_without_a_reservation_is_what_an_older_release_writes() -> None:
    assert b"reserved" not in Grant(5, HOLDER).to_bytes()
    assert json.loads(Grant(5, None, PAST, RESERVED).to_bytes())["reserved"] == {"instance": "web-3", "wait": 6 * 10**9}
