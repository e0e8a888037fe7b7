"""The floor of a namespace's tokens: what is read from its record."""

from __future__ import annotations

import pytest

from locum.errors import CorruptRecordError
from locum.floor import Floor
from locum.store import Record


@pytest.mark.parametrize("value", [b"0", b"7", str(2**63 - 1).encode()])
def test_a_floor_comes_back(value: bytes) -> None:
    assert Floor.of(Record("floor", value, 3, 1, None)) == Floor(int(value), 3)


@pytest.mark.parametrize("value", [b"", b"x", b"1.5", b"\xff"])
def test_what_is_no_floor_is_told(value: bytes) -> None:
    with pytest.raises(CorruptRecordError, match="floor is not readable"):
        Floor.of(Record("floor", value, 3, 1, None))
