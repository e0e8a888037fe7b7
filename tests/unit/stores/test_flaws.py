"""Versions that are known to be bad are named, and no others."""

from __future__ import annotations

import re

import pytest

from locum.stores.flaws import Flaw, flaws_of
from locum.stores.zookeeper import words

KNOWN = (
    Flaw("it forgets", (("3.6.0", "3.8.4"), ("3.9.0", "3.9.2"))),
    Flaw("it stops", (("3.9", "3.9.1"),)),
)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("3.5.10", ""),
        ("3.6.0", "it forgets"),
        ("3.8.3", "it forgets"),
        ("3.8.4", ""),
        ("3.8.10", ""),
        ("3.9.0", "it forgets; it stops"),
        ("3.9.1-beta", "it forgets"),
        ("3.9.2", ""),
        ("10.0", ""),
        ("", ""),
        ("unknown", ""),
    ],
)
def test_a_version_has_what_its_series_has_until_it_was_mended(version: str, said: str) -> None:
    assert flaws_of(version, KNOWN) == said


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("3.8.3", "ZOOKEEPER-4785"),
        ("3.8.4", ""),
        ("3.8.6", ""),
        ("3.9.1", "ZOOKEEPER-4785"),
        ("3.9.2", ""),
        ("3.9.3", "ZOOKEEPER-4925"),
        ("3.9.4", ""),
    ],
)
def test_what_zookeeper_loses_is_named_in_the_versions_that_lose_it(version: str, said: str) -> None:
    assert re.findall(r"ZOOKEEPER-\d+", flaws_of(version, words.FLAWS)) == [said][: bool(said)]
