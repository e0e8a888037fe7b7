"""The injuries come in turn, and fit into the run."""

import pytest

from locum.demo.plan import Kind, injuries, least_seconds, schedule


def test_the_kinds_come_in_turn() -> None:
    assert injuries(6) == [
        Kind.WORKER_KILLED,
        Kind.INSTANCE_KILLED,
        Kind.FROZEN,
        Kind.RESIGNED,
        Kind.WORKER_KILLED,
        Kind.INSTANCE_KILLED,
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 50])
@pytest.mark.parametrize("spare", [0.0, 0.5, 30.0])
def test_each_injury_has_the_time_that_it_needs(count: int, spare: float) -> None:
    seconds = least_seconds(count) + spare
    planned = schedule(count, seconds)
    begins = [at for at, _ in planned] + [seconds]
    assert [kind for _, kind in planned] == injuries(count)
    for (at, kind), following in zip(planned, begins[1:], strict=True):
        assert following - at >= kind.needs - 1e-9


def test_eight_kills_fit_into_thirty_seconds_and_four_into_ten() -> None:
    assert least_seconds(8) <= 30
    assert least_seconds(4) <= 10


def test_no_kills_need_no_time() -> None:
    assert least_seconds(0) == 0
    assert schedule(0, 5.0) == []
