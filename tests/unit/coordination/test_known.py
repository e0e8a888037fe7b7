"""What was read stays as it was read, for as long as the record stays as it is."""

from __future__ import annotations

from dataclasses import replace

from locum.coordination.known import Known
from locum.errors import CorruptRecordError
from locum.store import Record

READS: list[str] = []


def read(record: Record) -> list[bytes]:
    READS.append(record.key)
    if record.value == b"torn":
        raise CorruptRecordError(record.key, "it is torn")
    return [record.value]


def test_only_what_has_changed_is_read_anew() -> None:
    READS.clear()
    known = Known(read)
    a, b, c = (Record(key, key.encode(), at, at, None) for at, key in enumerate("abc"))
    first = known.of([a, b, c])
    assert first == ([b"a"], [b"b"], [b"c"])
    again = known.of([a, replace(b, value=b"new", revision=7), c])
    assert again == ([b"a"], [b"new"], [b"c"])
    assert (again[0], again[2]) == (first[0], first[2])
    assert again[0] is first[0]
    assert "".join(READS) == "abcb"


def test_what_went_and_came_back_or_cannot_be_read_is_not_shown_as_it_was() -> None:
    READS.clear()
    known = Known(read)
    a, b = Record("a", b"a", 1, 1, None), Record("b", b"torn", 2, 2, None)
    assert known.of([a, b]) == ([b"a"],)
    assert known.of([b]) == ()
    assert known.of([a, b]) == ([b"a"],)
    assert "".join(READS) == "aba", "what is torn is told of once, for as long as it is the same"
    assert known.of([replace(a, value=b"of another store")]) == ([b"of another store"],), "under the same revision"
