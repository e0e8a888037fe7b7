"""The same for plain functions: what a body written as `def` is given, and a coordinator for scripts that block.

Each facade stands before the handle of the same name and has no logic of its own. It reads the handle's memory, or runs
the handle's coroutine and waits for it: in the event loop, or in the body's own thread where a connection of the user's
is touched. Waiting ends when the body is asked to end.
"""

from __future__ import annotations

from locum.blocking.contests import Barrier, Election, Lock, ReadWriteLock, Shared
from locum.blocking.contexts import Context, Held, Hold, Share, Standby, Stopping, Term
from locum.blocking.coordinator import Coordinator, connect
from locum.blocking.members import Members, Membership, Naming
from locum.blocking.nodes import Nodes
from locum.blocking.run import Run
from locum.blocking.shard import Shard

__all__ = [
    "Barrier",
    "Context",
    "Coordinator",
    "Election",
    "Held",
    "Hold",
    "Lock",
    "Members",
    "Membership",
    "Naming",
    "Nodes",
    "ReadWriteLock",
    "Run",
    "Shard",
    "Share",
    "Shared",
    "Standby",
    "Stopping",
    "Term",
    "connect",
]
