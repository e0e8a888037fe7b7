"""Where a candidate stands, as tables: lines are written as letters, each an entry."""

from __future__ import annotations

import pytest

from locum.coordination.grant import Grant, Holder, Past
from locum.coordination.line import Entry, Place, check_successor, entry_key, find_place, line_prefix, waiting_in
from locum.errors import CorruptRecordError, TransferRefusedError
from locum.store import Record

GRANT = "grant/s"


def entries(letters: str) -> list[Entry]:
    return [Entry(entry_key("s", letter), letter, f"web-{letter}", "session") for letter in letters]


def held(letter: str) -> Grant:
    return Grant(1, Holder("session", letter, f"web-{letter}", ""))


def given_up(letter: str) -> Grant:
    return Grant(1, None, Past(letter, f"web-{letter}", "", "resigned", 0, ""))


VACANT = Grant()


def place(letters: str, me: str, grant: Grant, *, kept_for: str = "") -> tuple[int, str] | None:
    """How many are before me, and whom I watch: letters, and `*` for the grant."""
    found = find_place(entries(letters), me, grant, GRANT, kept_for=f"web-{kept_for}" if kept_for else None)
    if found is None:
        return None
    others = {GRANT: "*", "session/session": "S"}
    return found.ahead, "".join(others.get(key) or key.rpartition("/")[2] for key in found.watch)


@pytest.mark.parametrize(
    ("letters", "me", "grant", "expected"),
    [
        ("a", "a", VACANT, (0, "a*")),
        ("ab", "a", VACANT, (0, "a*")),
        ("ab", "b", VACANT, (1, "ba*")),
        ("abc", "c", VACANT, (2, "cb")),
        ("abcd", "d", VACANT, (3, "dc")),
        # the holder keeps its entry, and does not count
        ("ab", "b", held("a"), (0, "ba*")),
        ("abc", "c", held("a"), (1, "cba*")),
        ("abcd", "d", held("a"), (2, "dc")),
        ("abc", "c", held("b"), (1, "cb*")),
        # nor does the last one, as long as its entry is still there
        ("ab", "b", given_up("a"), (0, "ba*")),
        ("abc", "c", given_up("a"), (1, "cb*")),
        # the holder came later and was quicker: it is watched wherever it stands
        ("ab", "a", held("b"), (0, "ab*")),
        ("abc", "b", held("c"), (1, "bac*")),
        ("abcd", "c", held("d"), (2, "cb")),
        # a holder without an entry: the grant tells of its release, and its session of its death
        ("ab", "a", held("x"), (0, "aS*")),
        ("abc", "c", held("x"), (2, "cb")),
        # the holder itself
        ("ab", "a", held("a"), (0, "a*")),
    ],
)
def test_where_a_candidate_stands_and_what_it_watches(
    letters: str, me: str, grant: Grant, expected: tuple[int, str]
) -> None:
    assert place(letters, me, grant) == expected


@pytest.mark.parametrize(
    ("letters", "me", "expected"),
    [
        # the one it is kept for has nobody before it, wherever it stands
        ("abcd", "d", (0, "dc*")),
        ("d", "d", (0, "d*")),
        # the first two of the others see it leave, and the one behind it as ever
        ("abcd", "a", (0, "ad*")),
        ("abcd", "b", (1, "bad*")),
        ("abcd", "c", (2, "cb")),
        ("dab", "a", (1, "ad*")),
        ("abcde", "e", (4, "ed")),
        # it is not there at all
        ("abc", "b", (1, "ba*")),
    ],
)
def test_where_a_candidate_stands_while_the_grant_is_kept_for_one(
    letters: str, me: str, expected: tuple[int, str]
) -> None:
    assert place(letters, me, VACANT, kept_for="d") == expected


def test_candidates_of_one_instance_for_which_the_grant_is_kept_take_turns() -> None:
    line = [Entry(entry_key("s", letter), letter, instance, "") for letter, instance in zip("abc", "xyy", strict=True)]
    found = [find_place(line, letter, VACANT, GRANT, kept_for="y") for letter in "abc"]
    assert [one.ahead for one in found if one] == [0, 0, 1]


def test_who_waits_is_told_in_order_without_those_that_are_done() -> None:
    assert waiting_in(entries("abc"), held("b")) == ["web-a", "web-c"]
    assert waiting_in(entries("abc"), given_up("a")) == ["web-b", "web-c"]
    assert waiting_in([], VACANT) == []


@pytest.mark.parametrize(
    ("to", "waiting", "why"),
    [
        ("web-1", ["web-2"], "s was not transferred to web-1: it is the active one already; nothing was changed"),
        ("web-1", ["web-1"], "it is the active one already"),
        ("web-9", ["web-2", "web-2", "web-3"], r"web-9: it does not wait in line \(in line: web-2, web-3\)"),
        ("web-9", [], r"it does not wait in line \(nobody does\)"),
    ],
)
def test_a_successor_that_could_not_take_it_is_refused(to: str, waiting: list[str], why: str) -> None:
    with pytest.raises(TransferRefusedError, match=why):
        check_successor("s", to, holder="web-1", waiting=waiting)
    check_successor("s", "web-2", holder="web-1", waiting=["web-3", "web-2"])


@pytest.mark.parametrize("letters", ["", "bc"])
def test_whoever_has_no_entry_has_no_place(letters: str) -> None:
    assert place(letters, "a", VACANT) is None


@pytest.mark.parametrize("grant", [VACANT, held("a"), held("c"), given_up("b")])
def test_everyone_watches_its_own_entry_and_the_one_before_it(grant: Grant) -> None:
    letters = "abcdef"
    for before, me in zip(" " + letters, letters, strict=False):
        found = place(letters, me, grant)
        assert found is not None
        assert me in found[1]
        assert before == " " or before in found[1]


@pytest.mark.parametrize("grant", [VACANT, held("a"), held("f"), given_up("a")])
def test_a_change_of_the_grant_wakes_few(grant: Grant) -> None:
    watching = [me for me in "abcdef" if "*" in (place("abcdef", me, grant) or (0, ""))[1]]
    assert len(watching) <= 3


def test_an_entry_comes_back_from_its_record() -> None:
    record = Record("line/election/s/abc", Entry.value("web-1"), 1, 1, "session")
    assert Entry.of(record) == Entry("line/election/s/abc", "abc", "web-1", "session")


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b"{}", b"3"])
def test_what_is_no_entry_is_told(value: bytes) -> None:
    with pytest.raises(CorruptRecordError, match=r"line/s/abc is not readable: it is no place in a line"):
        Entry.of(Record("line/s/abc", value, 1, 1, "session"))


def test_keys() -> None:
    assert line_prefix("election/s") == "line/election/s/"
    assert entry_key("election/s", "abc") == "line/election/s/abc"
    assert Place(0, ("a",)).watch == ("a",)
