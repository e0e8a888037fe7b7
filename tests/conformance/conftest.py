"""A promise is held or not: the only reason to skip one of these tests is a server that is not installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum.testing.conformance import wrong_skip

if TYPE_CHECKING:
    from collections.abc import Generator


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip for a wrong reason into a failure."""
    report = yield
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        wrong = wrong_skip(reason)
        if wrong is not None:
            report.outcome, report.longrepr = "failed", wrong
    return report
