"""What may be taken without a place in line: a grant that nobody has, as far as this process knows.

The take says the rest: it names the revision by which the grant is known, and demands in the same operation that nobody
stands in line. So whoever waits is never passed, and a lock that one process turns again and again costs three calls a
turn: the floor, take, release. Whoever comes meanwhile stands in line, and watches the holder's session in the place of
its entry.

A grant that was given up here is known without being read: if it is still at that revision, nobody else has written it
since. The floor is read each time, after the record (R20).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from locum.coordination.grant import Grant, grant_key
from locum.errors import ConflictError
from locum.store import ABSENT

if TYPE_CHECKING:
    from locum.coordination.commons import Commons, Idle
    from locum.coordination.settling import Settling
    from locum.keeper.lease import Lease
    from locum.store import Record

__all__ = ["free_grant"]


async def free_grant(commons: Commons, scope: str, idle: Idle | None, settling: Settling, lease: Lease) -> Grant | None:
    """The grant of a scope, to be taken at once.

    Args:
        commons: What this process knows.
        scope: What is to be held.
        idle: How it was given up here, if it was and nothing is known to have changed.
        settling: Repeats calls for it.
        lease: Whose end ends that.

    Returns:
        `None` if it is to be waited for in line: others were met there, or the store may be in quarantine (R25).
    """
    seen = commons.store.seen
    is_open = seen is not None and seen.incarnation in commons.opened
    if not is_open or scope in commons.crowded or not commons.store.guarantees().guarded_writes or not lease.is_current:
        return None
    if idle is not None and idle.session == lease.session:
        return Grant(idle.token, revision=idle.revision)
    key, vacant = grant_key(scope), Grant().to_bytes()
    try:
        # of a name that is new this is the first step (R13), and of any other the refusal says what stands there
        record = await settling.answer(lambda: commons.store.write(key, vacant, expect=ABSENT), lease)
    except ConflictError as error:
        record = cast("Record", error.current)
    grant = Grant.of(record)
    if grant.occupants or grant.reserved is not None:
        commons.crowded.add(scope)
        return None
    return grant
