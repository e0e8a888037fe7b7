"""What a session's record says of its owner, and its tombstone of its end (R2)."""

from __future__ import annotations

import json

import pytest

from locum.errors import CorruptRecordError
from locum.identity import MachineKey, ProcessId
from locum.keeper.owner import Ending, Owner
from locum.testing.instances import owner_named

OWNER = Owner(
    "web-1",
    "blue",
    MachineKey("boot", "pid:[1]", "time:[2]"),
    keeper=ProcessId(17, 2**40),
    worker=ProcessId(18, 0),
    enforcement="cancel",
    kind="native",
)


@pytest.mark.parametrize("owner", [OWNER, owner_named("web-2")], ids=lambda owner: owner.name)
def test_an_owner_comes_back_as_it_was(owner: Owner) -> None:
    assert Owner.from_bytes(owner.to_bytes()) == owner


def without(field: str) -> bytes:
    fields = json.loads(OWNER.to_bytes())
    del fields[field]
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"{}",
        b"7",
        *[without(field) for field in ("name", "machine", "key", "keeper", "worker", "enforcement", "kind")],
        OWNER.to_bytes().replace(b'"pid": 17', b'"bid": 17'),
        OWNER.to_bytes().replace(b'"boot"', b'"boat"', 1),
    ],
)
def test_what_is_no_owner_is_told(value: bytes) -> None:
    with pytest.raises(CorruptRecordError, match="its owner is unreadable"):
        Owner.from_bytes(value)


@pytest.mark.parametrize("ending", [Ending("was killed (SIGKILL)", 2**62, "boot/pid/time"), Ending("was stopped")])
def test_an_ending_comes_back_as_it_was(ending: Ending) -> None:
    assert Ending.from_bytes(ending.to_bytes()) == ending


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "is gone"),
        (b"fell silent", "fell silent"),
        (b"7", "7"),
        (b'{"other": 1}', '{"other": 1}'),
        (b"\xff", "\ufffd"),
    ],
)
def test_words_are_made_of_what_cannot_be_read(value: bytes, why: str) -> None:
    assert Ending.from_bytes(value) == Ending(why)


@pytest.mark.parametrize(
    ("ending", "now", "key", "age"),
    [
        (Ending("x", 100, "here"), 130, "here", 30),
        (Ending("x", 100, "here"), 100, "here", 0),
        (Ending("x", 100, "here"), 130, "there", None),
        (Ending("x", 100, "here"), 99, "here", None),
        (Ending("x", 0, "here"), 99, "here", None),
    ],
)
def test_an_age_is_known_on_the_clock_that_saw_it_only(ending: Ending, now: int, key: str, age: int | None) -> None:
    assert ending.age(now, key) == age
