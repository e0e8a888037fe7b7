"""The order of a reliable service's steps, and the time of each: all of it, and by the thousand."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as some

from locum.services.road import _ROADS, Move, Step, road, share
from locum.state.role import Role

ROADS = [(role, move) for role, moves in _ROADS.items() for move in moves]
DOWN = (Move.DEMOTE, Move.LOSE, Move.CLOSE, Move.ABORT)


def before(steps: tuple[Step, ...], *order: Step) -> bool:
    """Whether those of some steps that are there come in this order."""
    places = [steps.index(step) for step in order if step in steps]
    return places == sorted(places)


@pytest.mark.parametrize(("role", "move"), ROADS)
def test_s06_every_road_keeps_the_order_of_an_end(role: Role | None, move: Move) -> None:
    steps = road(move, role)
    assert len(set(steps)) == len(steps) or move is Move.PROMOTE
    if move in DOWN:
        assert before(steps, Step.WITHDRAW, Step.DRAIN, Step.CLOSE_LISTENERS, Step.ASK, Step.END_RUN, Step.DEMOTE_STATE)
        assert before(steps, Step.REVOKE, Step.END_RUN, Step.ON_CHANGE_ROLE, Step.ON_CLOSE, Step.CLOSE_STATE)
        assert before(steps, Step.ASK, Step.REVOKE), "it is asked while its writes are accepted still"
        assert not {Step.RUN, Step.PROMOTE_STATE, Step.OPEN_LISTENERS, Step.PUBLISH} & set(steps)
    if move is Move.LOSE:
        assert steps[0] is Step.REVOKE
        assert Step.DRAIN not in steps
    if move in (Move.LOSE, Move.ABORT):
        assert Step.ASK not in steps
    if role is Role.PRIMARY and move in DOWN:
        assert {Step.REVOKE, Step.WITHDRAW, Step.END_RUN} <= set(steps), "a primary ends whole"
    assert (Step.ON_ABORT in steps) == (move is Move.ABORT)
    assert (Step.ON_CLOSE in steps) == (move is Move.CLOSE or (role is None and move is Move.LOSE))


@pytest.mark.parametrize(("role", "move"), [(role, move) for role, move in ROADS if move in (Move.OPEN, Move.PROMOTE)])
def test_a_way_up_publishes_what_listens_and_runs_only_with_writes_granted(role: Role | None, move: Move) -> None:
    steps = road(move, role)
    assert before(steps, Step.OPEN_LISTENERS, Step.PUBLISH, Step.PROMOTE_STATE, Step.RUN, Step.ON_CHANGE_ROLE)
    if move is Move.PROMOTE:
        assert steps.index(Step.CLOSE_LISTENERS) < steps.index(Step.OPEN_LISTENERS), "they are made anew"


def test_a_primary_alone_runs() -> None:
    running = {(role, move) for role, move in ROADS if Step.RUN in road(move, role)}
    assert running == {(None, Move.OPEN), (Role.SECONDARY, Move.PROMOTE)}


@given(some.sampled_from(ROADS), some.floats(0.001, 10_000), some.lists(some.floats(0, 1), min_size=20, max_size=20))
def test_s06_however_long_each_step_takes_all_of_them_keep_to_the_limit(
    which: tuple[Role | None, Move], limit: float, used: list[float]
) -> None:
    steps, left = road(which[1], which[0]), limit
    for number, part in zip(range(len(steps)), itertools.cycle(used), strict=False):
        mine = share(steps[number:], left)
        assert 0 <= mine <= left + 1e-9
        left -= mine * part
    assert left >= -1e-6


@given(some.sampled_from(ROADS), some.floats(0.1, 100))
def test_no_step_but_those_that_need_none_is_left_without_time(which: tuple[Role | None, Move], limit: float) -> None:
    steps, left = road(which[1], which[0]), limit
    for number, step in enumerate(steps):
        mine = share(steps[number:], left)
        assert (mine > 0) == (step not in (Step.ASK, Step.REVOKE))
        left -= mine


def test_time_that_is_up_is_no_time() -> None:
    assert share(road(Move.CLOSE, None), -3.0) == 0.0
