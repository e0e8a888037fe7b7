"""How things may be called."""

from __future__ import annotations

import pytest

from locum.errors import ConfigurationError
from locum.names import check_key, check_name, join, random_id, snake_case


@pytest.mark.parametrize("name", ["a", "Z", "0", "a.b_c:d-e", "9" * 128])
def test_a_good_name_is_given_back(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a b",
        "a/b",
        ".a",
        "-a",
        "_a",
        ":a",
        "a\n",
        "\na",
        "a\x00",
        "ä",
        "a'b",
        'a"b',
        "a;b",
        "%",
        "1" * 129,
        "\u0661",
    ],
)
def test_a_hostile_name_is_refused_with_what_is_allowed(name: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the name of a lock: use 1 to 128 letters"):
        check_name(name, what="the name of a lock")


@pytest.mark.parametrize("name", [None, 7, b"a", ["a"]])
def test_what_is_no_text_is_refused(name: object) -> None:
    with pytest.raises(ConfigurationError):
        check_name(name)  # type: ignore[arg-type]


def test_a_key_is_made_of_names() -> None:
    assert check_key("grant/election/a") == join("grant", "election", "a")


@pytest.mark.parametrize("key", ["", "/", "a/", "/a", "a//b", "a/../b", "a/b c"])
def test_a_key_with_a_segment_that_is_no_name_is_refused_and_named(key: str) -> None:
    with pytest.raises(ConfigurationError, match="a segment of the key"):
        check_key(key)


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("GracePeriod", "grace_period"),
        ("Settlement", "settlement"),
        ("HTTPPoller", "http_poller"),
        ("OrderHTTP", "order_http"),
        ("already_snake", "already_snake"),
        ("Part2Of3", "part2_of3"),
        ("A", "a"),
    ],
)
def test_the_name_of_a_class_as_the_name_of_a_service(name: str, snake: str) -> None:
    assert snake_case(name) == snake


def test_a_random_id_has_128_bits_and_is_a_name() -> None:
    ids = {random_id() for _ in range(100)}
    assert len(ids) == 100
    assert {len(one) for one in ids} == {32}
    assert all(check_name(one) and int(one, 16) >= 0 for one in ids)
