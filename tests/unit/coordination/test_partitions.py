"""How a service is divided, and to which part a key belongs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as some

from locum.coordination.partitions import Partitioning, int64_range, named, singleton
from locum.errors import ConfigurationError
from locum.store import Record


@given(some.integers(-(2**63), 2**63 - 1), some.integers(0, 300), some.integers(1, 50), some.data())
def test_a_range_is_cut_into_equal_parts_to_which_every_number_belongs(
    low: int, more: int, count: int, data: some.DataObject
) -> None:
    high = min(low + more, 2**63 - 1)
    if count > high - low + 1:
        with pytest.raises(ConfigurationError):
            int64_range(count, low=low, high=high)
        return
    divided = int64_range(count, low=low, high=high)
    parts = divided.partitions
    assert (parts[0].low, parts[-1].high) == (low, high)
    sizes = [one.high - one.low + 1 for one in parts if one.low is not None and one.high is not None]
    assert sum(sizes) == high - low + 1
    assert max(sizes) - min(sizes) <= 1
    number = data.draw(some.integers(low, high))
    found = divided.partition(number)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= number <= found.high


def test_a_hundred_numbers_in_four_are_25_each() -> None:
    assert [(one.low, one.high) for one in int64_range(4, low=0, high=99).partitions] == [
        (0, 24),
        (25, 49),
        (50, 74),
        (75, 99),
    ]


def test_keys_belong_to_the_same_partition_on_every_machine_and_in_every_release() -> None:
    divided = int64_range(8)
    said = [divided.partition(f"word-{number}").index for number in range(12)]
    assert said == [4, 5, 1, 2, 5, 3, 1, 0, 1, 2, 6, 0]
    program = (
        "from locum.coordination.partitions import int64_range\n"
        "print([int64_range(8).partition(f'word-{n}').index for n in range(12)])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"}
    )
    assert answer.stdout == f"{said}\n"
    assert divided.partition("wörd") == divided.partition("wörd".encode())


def test_keys_are_spread() -> None:
    divided = int64_range(8)
    counted = [0] * 8
    for number in range(8000):
        counted[divided.partition(f"word-{number}").index] += 1
    assert min(counted) > 850


def test_names_are_keys_and_one_needs_none() -> None:
    assert named("eu", "us").partition("us").index == 1
    assert singleton().partition().name == "0"
    assert singleton().partition("whatever").index == 0


@pytest.mark.parametrize("key", [None, True, "elsewhere", 100])
def test_a_key_that_means_no_partition_is_refused(key: int | str | None) -> None:
    with pytest.raises(ConfigurationError):
        named("eu").partition(key)
    if key != "elsewhere":
        with pytest.raises(ConfigurationError):
            int64_range(4, low=0, high=99).partition(key)


@pytest.mark.parametrize(
    "make", [lambda: named(), lambda: named("a", "a"), lambda: int64_range(0), lambda: named("a/b")]
)
def test_what_cannot_be_is_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(ConfigurationError):
        make()


@pytest.mark.parametrize("divided", [singleton(), named("eu", "us"), int64_range(4, low=-5, high=99)])
def test_it_is_read_as_it_was_written(divided: Partitioning) -> None:
    record = Record(key="partitioning/x", value=divided.to_bytes(), revision=1, created=1, session=None)
    assert Partitioning.of(record) == divided
