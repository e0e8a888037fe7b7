"""What the kernel tells of its clocks."""

from __future__ import annotations

from locum.keeper.kernel import clock_discipline


def test_the_correction_of_the_clock_is_read_and_within_what_the_kernel_allows() -> None:
    found = clock_discipline()
    assert 0.89 < found.rate < 1.11
    assert found.is_synchronised in (True, False)
