"""No test leaves a process behind, however it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.cli.kit import BEGUN

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = len(BEGUN)
    yield
    for process in BEGUN[before:]:
        if process.poll() is None:
            process.kill()  # what it started dies with it
            process.communicate()
