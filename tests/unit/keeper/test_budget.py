"""How a TTL is divided, in whole nanoseconds (R4, R30)."""

from __future__ import annotations

import pytest

from locum.errors import ConfigurationError
from locum.keeper.budget import Budget

SECOND = 10**9


def test_a_sixth_for_the_beat_and_a_sixth_for_a_call() -> None:
    assert Budget.of_seconds(6.0) == Budget(6 * SECOND, SECOND, SECOND)


@pytest.mark.parametrize("ttl", [5 * 10**8, SECOND, 6 * SECOND, 3600 * SECOND, 5 * 10**8 + 1, 7 * 10**8 + 3])
def test_the_three_deadlines_are_60_80_and_85_percent_of_the_ttl(ttl: int) -> None:
    budget, sent = Budget.of(ttl), 123_456_789
    assert 100 * (budget.cancel_at(sent) - sent) // ttl in (59, 60)
    assert budget.cancel_at(sent) == sent + 60 * ttl // 100
    assert budget.end_worker_at(sent) == sent + 80 * ttl // 100
    assert budget.kill_at(sent) == sent + 85 * ttl // 100
    assert budget.claim_window == 20 * ttl // 100


@pytest.mark.parametrize("sent", [0, 2**62])
def test_everything_is_whole_nanoseconds_however_large(sent: int) -> None:
    budget = Budget.of(3600 * SECOND - 1)
    values = [budget.ttl, budget.beat, budget.call, budget.claim_window]
    values += [budget.cancel_at(sent), budget.end_worker_at(sent), budget.kill_at(sent)]
    assert all(type(value) is int for value in values)
    assert budget.kill_at(sent) - sent == 85 * (3600 * SECOND - 1) // 100


@pytest.mark.parametrize(("beat", "call"), [(2, 2), (4, 1), (1, 2)])
def test_what_fits_is_taken(beat: int, call: int) -> None:
    assert Budget(10, beat, call).checked() == Budget(10, beat, call)


@pytest.mark.parametrize(("beat", "call"), [(3, 2), (2, 3), (7, 1), (-1, 1), (1, -1), (0, 3), (6, 0)])
def test_what_does_not_fit_is_refused(beat: int, call: int) -> None:
    with pytest.raises(ConfigurationError):
        Budget(10, beat, call).checked()


def test_one_nanosecond_too_many_is_refused() -> None:
    ttl = 10 * SECOND
    fits = Budget(ttl, 2 * SECOND, 2 * SECOND)
    assert fits.checked() is fits
    with pytest.raises(ConfigurationError):
        Budget(ttl, 2 * SECOND + 1, 2 * SECOND).checked()


def test_a_refusal_names_the_three_numbers_and_the_way_out() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Budget(6 * SECOND, 2 * SECOND, 1_500_000_000).checked()
    assert str(caught.value) == (
        "beat 2 s + 2 x call 1.5 s must fit into 60 % of the TTL 6 s: choose a longer TTL or shorter beats and calls"
    )


@pytest.mark.parametrize("ttl", [0.49, 0.0, -1.0, 3600.1, float("nan"), float("inf")])
def test_a_ttl_out_of_bounds_is_refused(ttl: float) -> None:
    with pytest.raises(ConfigurationError, match=r"a TTL of .* cannot be"):
        Budget.of_seconds(ttl)


def test_the_call_deadline_in_seconds() -> None:
    assert Budget.of_seconds(6.0).call_seconds == 1.0
