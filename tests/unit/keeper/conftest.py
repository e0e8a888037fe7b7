"""Fixtures of the keeper's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.keeper.children import Children, children_of_a_test

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def children() -> Iterator[Children]:
    yield from children_of_a_test()
