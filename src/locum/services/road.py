"""The order in which a reliable service's object is opened, promoted, demoted and closed: decided here, without I/O.

The way up follows Service Fabric's adapters: listeners are opened and published one after another, then the run is
begun, and beside it the hook is called. The way down is ours: the endpoints are withdrawn, the listeners closed, the
run is asked, writes are refused, the run is cancelled and awaited, and only then hooks and release follow. Whatever was
lost is refused its writes first.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from locum.state.role import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Move", "Step", "road", "share"]


class Step(enum.Enum):
    """One step, called as it is told."""

    OPEN_STATE = "the opening of its state"
    ON_OPEN = "on_open"
    OPEN_LISTENERS = "the opening of its listeners"
    PUBLISH = "the publishing of its addresses"
    PROMOTE_STATE = "the promotion of its state"
    RUN = "the beginning of its run"
    ON_CHANGE_ROLE = "on_change_role"
    WITHDRAW = "the withdrawal of its addresses"
    DRAIN = "its drain delay"
    CLOSE_LISTENERS = "the closing of its listeners"
    ABORT_LISTENERS = "the abort of its listeners"
    ASK = "the time to end by itself"
    REVOKE = "the end of its writes"
    END_RUN = "the end of its run"
    DEMOTE_STATE = "the demotion of its state"
    ON_CLOSE = "on_close"
    ON_ABORT = "on_abort"
    CLOSE_STATE = "the closing of its state"


class Move(enum.Enum):
    """What becomes of an object.

    Attributes:
        OPEN: It begins: a stateless one runs, a stateful one has no role yet.
        STAND_BY: It becomes a secondary, from nothing or after a demotion.
        PROMOTE: It becomes the primary.
        DEMOTE: It is the primary no more, as planned, and its grant is released after that.
        LOSE: The same, and the grant was lost.
        CLOSE: It ends, as planned.
        ABORT: It ends since it could not be opened or promoted; nobody is waited for but the run.
    """

    OPEN = enum.auto()
    STAND_BY = enum.auto()
    PROMOTE = enum.auto()
    DEMOTE = enum.auto()
    LOSE = enum.auto()
    CLOSE = enum.auto()
    ABORT = enum.auto()

    @property
    def leads_up(self) -> bool:
        """Whether a step that fails ends it; on the way down every later step is taken all the same."""
        return self in (Move.OPEN, Move.STAND_BY, Move.PROMOTE)


_LISTENING: Final = (Step.OPEN_LISTENERS, Step.PUBLISH)
_SILENCED: Final = (Step.WITHDRAW, Step.DRAIN, Step.CLOSE_LISTENERS)
_ENDED: Final = (*_SILENCED, Step.ASK, Step.REVOKE, Step.END_RUN)
_LOST: Final = (Step.REVOKE, Step.WITHDRAW, Step.CLOSE_LISTENERS, Step.END_RUN)
_ABORTED: Final = (Step.REVOKE, Step.WITHDRAW, Step.ABORT_LISTENERS, Step.END_RUN, Step.ON_ABORT)

_STATELESS: Final = {
    Move.OPEN: (*_LISTENING, Step.RUN, Step.ON_OPEN),
    Move.CLOSE: (*_ENDED, Step.ON_CLOSE),
    Move.LOSE: (*_LOST, Step.ON_CLOSE),
    Move.ABORT: _ABORTED,
}
_NONE: Final = {
    Move.OPEN: (Step.OPEN_STATE, Step.ON_OPEN),
    Move.STAND_BY: (*_LISTENING, Step.ON_CHANGE_ROLE),
    Move.CLOSE: (Step.ON_CLOSE, Step.CLOSE_STATE),
    Move.ABORT: (*_ABORTED, Step.CLOSE_STATE),
}
_SECONDARY: Final = {
    Move.STAND_BY: _LISTENING,  # after a demotion: it has the role already
    Move.PROMOTE: (
        *(Step.WITHDRAW, Step.CLOSE_LISTENERS),
        *_LISTENING,
        *(Step.PROMOTE_STATE, Step.RUN, Step.ON_CHANGE_ROLE),
    ),
    Move.CLOSE: (*_SILENCED, Step.ON_CHANGE_ROLE, Step.ON_CLOSE, Step.CLOSE_STATE),
    Move.ABORT: (*_ABORTED, Step.CLOSE_STATE),
}
_PRIMARY: Final = {
    Move.DEMOTE: (*_ENDED, Step.DEMOTE_STATE, Step.ON_CHANGE_ROLE),
    Move.LOSE: (*_LOST, Step.DEMOTE_STATE, Step.ON_CHANGE_ROLE),
    Move.CLOSE: (*_ENDED, Step.DEMOTE_STATE, Step.ON_CHANGE_ROLE, Step.ON_CLOSE, Step.CLOSE_STATE),
    Move.ABORT: (*_ABORTED, Step.CLOSE_STATE),
}
_ROADS: Final = {None: _STATELESS, Role.NONE: _NONE, Role.SECONDARY: _SECONDARY, Role.PRIMARY: _PRIMARY}

_WEIGHTS: Final = {
    Step.PUBLISH: 2.0,
    Step.WITHDRAW: 2.0,
    Step.END_RUN: 4.0,
    Step.CLOSE_LISTENERS: 4.0,
    Step.ON_CHANGE_ROLE: 2.0,
    Step.ON_CLOSE: 2.0,
    Step.ON_ABORT: 2.0,
    Step.ASK: 0.0,  # whoever ends the term gives it time of its own
    Step.REVOKE: 0.0,  # a memory write
}


def road(move: Move, role: Role | None) -> tuple[Step, ...]:
    """The steps of a move, in their order.

    Args:
        move: What becomes of the object.
        role: Its role of now; `None` for a stateless one.

    Raises:
        KeyError: One of that role makes no such move.
    """
    return _ROADS[role][move]


def share(steps: Sequence[Step], left: float) -> float:
    """Seconds that the first of some steps may take, of so many that are left for all of them.

    Each has its part for certain, and what those before it did not need: the run the largest.
    """
    weights = [_WEIGHTS.get(step, 1.0) for step in steps]
    whole = sum(weights)
    return max(0.0, left) * weights[0] / whole if whole else 0.0
