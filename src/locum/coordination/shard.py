"""One shard: a term that knows its index, its checkpoint and its lag; and the contest for it.

What goes with a shard (where its work stands, how often it moved, how it fails) stands in its grant, and is changed by
the same compare-and-set that hands the shard over.
"""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

from locum.coordination.claim import Claim, Habits
from locum.coordination.contest import Contest
from locum.coordination.grant import Grant, grant_key
from locum.coordination.term import Term
from locum.errors import ConfigurationError, ConflictError, TermEndedError
from locum.names import join

if TYPE_CHECKING:
    from locum.coordination.commons import Commons
    from locum.coordination.contest import Acquisition
    from locum.coordination.lookout import View
    from locum.floor import Floor
    from locum.keeper.lease import Lease
    from locum.store import Store

__all__ = ["Shard", "ShardContest", "ShardState", "revive", "shard_scope", "shards_prefix"]

_MOST_WORDS: Final = 300


def shard_scope(name: str, index: int) -> str:
    """The scope of one shard of a service."""
    return join("shard", name, str(index))


def shards_prefix(name: str, *, kind: str = "shard") -> str:
    """The prefix of the grants of all shards of a service, or of whatever else it is divided into."""
    return grant_key(join(kind, name)) + "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardState:
    """What goes with a shard from one holder to the next.

    Attributes:
        position: The last checkpoint; `None` if there is none.
        owner: The instance that had it last, or has it.
        moves: How often it went from one instance to another.
        reason: Why it came to the one that has it, in words.
        failures: How often in a row its body has failed, without a checkpoint or a healthy run in between.
        trouble: What it failed with last; empty if it did not.
        dead: Whether nobody runs it any more, until somebody revives it.
    """

    position: Any = None
    owner: str = ""
    moves: int = 0
    reason: str = ""
    failures: int = 0
    trouble: str = ""
    dead: bool = False

    @classmethod
    def of(cls, value: bytes | None) -> ShardState:
        """The state that goes with a grant; a fresh one where it cannot be read."""
        try:
            return cls() if value is None else cls(**json.loads(value))
        except (ValueError, TypeError):
            return cls()

    def to_bytes(self) -> bytes:
        """As the grant keeps it.

        Raises:
            ConfigurationError: The position cannot be written as JSON.
        """
        try:
            return json.dumps(asdict(self)).encode()
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"{self.position!r} is no position that can be kept: use what JSON has") from error

    def taken_by(self, instance: str, reason: str) -> ShardState:
        """The state under a new holder."""
        moved = bool(self.owner) and self.owner != instance
        return replace(self, owner=instance, moves=self.moves + moved, reason=reason[:_MOST_WORDS])

    def failed(self, trouble: str, *, most: int) -> ShardState:
        """The state after one more failure: dead, if it was one too many."""
        failures = self.failures + 1
        return replace(self, failures=failures, trouble=trouble[:_MOST_WORDS], dead=failures > most)

    def well(self) -> ShardState:
        """The state of one that does not fail, or is given another chance."""
        return replace(self, failures=0, trouble="", dead=False)


class Shard(Term):
    """One uninterrupted time of owning one shard: a term, and where the work of the shard stands.

    Promises: no two owners of one shard at once, tokens of one shard only grow, and what a checkpoint says is found by
    the next owner.
    Assumes: the writes that matter carry the token (`transaction`, `fence`), and an old one is refused.
    On loss: the body is cancelled and awaited; only then is the shard given up.

    Attributes:
        index: Which one it is, from 0.
        of: How many there are.
        lag: How far its work is behind, in whatever the body counts; shown by `locum status shards`. `None` if unknown.
        has_progressed: Whether its work got on under this owner, so that a failure is the first in a row: a checkpoint
            says so, and who keeps its position elsewhere may.
    """

    def __init__(self, name: str, *, contest: ShardContest, **fields: Any) -> None:
        super().__init__(name, **fields)
        self._contest = contest
        self.index, self.of = contest.index, contest.of
        self.lag: float | None = None
        self.has_progressed = False

    @property
    def position(self) -> Any:
        """The last checkpoint, of this owner or one before; `None` if there is none. No I/O."""
        return self._contest.claim_of(self).state.position

    async def checkpoint(self, position: Any) -> None:
        """Note where the work stands, for whoever owns the shard next; it also says that the work goes on well.

        It is kept in the store, by the compare-and-set that hands the shard over. Work in a database of its own keeps
        its position there, in the same transaction.

        Args:
            position: Anything that JSON has, at most some 30 KiB.

        Raises:
            TermEndedError: The shard is not ours any more; nothing was noted.
            StaleTermError: A later owner has it; nothing was noted.
        """
        self.check()
        claim = self._contest.claim_of(self)
        await claim.set_value(self, replace(claim.state.well(), position=position).to_bytes())
        self.has_progressed = True


class ShardContest(Contest[Shard]):
    """Tries for one shard, and has what becomes of it.

    Args:
        commons: Whose session it runs under.
        name: The service's name.
        index: Which shard.
        of: How many there are.
    """

    def __init__(self, commons: Commons, name: str, index: int, of: int) -> None:
        super().__init__(commons, shard_scope(name, index))
        self.name, self.index, self.of = name, index, of
        self._habits = Habits(
            make_term=functools.partial(Shard, contest=self), can_be_paused=False, keeps_value=True, tells=False
        )

    def claim_of(self, shard: Shard) -> ShardClaim:
        """The acquisition of a shard that is held.

        Raises:
            TermEndedError: It is over.
        """
        claim = self._claims.get(shard)
        if claim is None:
            raise TermEndedError(self.scope, shard.token, shard.ended or "was released")
        return cast("ShardClaim", claim)

    def rest(self, shard: Shard) -> None:
        """Keep a shard whose work has ended: the kernel's timer need not stand any more."""
        self.claim_of(shard).rest()

    async def resign_as(self, shard: Shard, why: str, state: ShardState) -> None:
        """Give it up, after its work has ended, and leave this state with it."""
        await self.claim_of(shard).leave_behind(state)
        await self.resign(shard, why)

    def _claim(self) -> Acquisition[Shard]:
        # the terms that it makes are what its habits make
        return cast("Acquisition[Shard]", ShardClaim(self._commons, self.scope, self.name, self._habits))


class ShardClaim(Claim):
    """One acquisition of a shard, which counts the moves."""

    @property
    def state(self) -> ShardState:
        """What goes with the shard, as this owner found it or left it last."""
        return ShardState.of(self.value)

    async def leave_behind(self, state: ShardState) -> None:
        """Have the release write this state, after whatever is written still."""
        async with self._changing:
            self.value = state.to_bytes()

    def _taken(self, view: View, floor: Floor, lease: Lease) -> Grant:
        taken = super()._taken(view, floor, lease)
        state = ShardState.of(taken.value).taken_by(self._commons.instance, _reason(view))
        return taken.with_value(state.to_bytes())


def _reason(view: View) -> str:
    """Why a shard is free to be taken."""
    holder, past = view.grant.holder, view.grant.past
    if holder is not None and view.ending is not None:
        return f"{holder.instance} {view.ending.why}"
    return f"{past.instance} {past.why}" if past is not None else "was new"


async def revive(store: Store, name: str, index: int) -> bool:
    """Give a dead shard another chance, by a compare-and-set on its vacant grant.

    Returns:
        Whether it was dead.
    """
    key = grant_key(shard_scope(name, index))
    while True:
        record = await store.read(key)
        grant = Grant.of(record)
        state = ShardState.of(grant.value)
        if record is None or grant.holder is not None or not state.dead:
            return False
        try:
            await store.write(key, grant.with_value(state.well().to_bytes()).to_bytes(), expect=record.revision)
        except ConflictError:
            continue  # somebody else revived it
        return True
