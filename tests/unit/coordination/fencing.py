"""What the tests of all databases' fences share."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

from locum.coordination.fence import Fence, fence_of
from locum.coordination.term import Term

if TYPE_CHECKING:
    from locum.testing.instances import Instance

__all__ = ["SCOPE", "done", "opened", "term_of"]

SCOPE: Final = "billing/election/settlement"


async def term_of(one: Instance, token: int) -> Term:
    """A term with a token as a test likes it."""
    return Term(
        "settlement",
        scope="election/settlement",
        fence_name=SCOPE,
        token=token,
        instance="web-1",
        lease=await one.leases.lease(),
        clock=one.leases.clock,
        revision=1,
    )


async def opened(target: Any) -> Fence:
    """The fence of a database, open."""
    fence = fence_of(target)
    await fence.open()
    return fence


async def done(outcome: Any) -> Any:
    """What a call of a library gave, plain or asyncio."""
    return await outcome if inspect.isawaitable(outcome) else outcome
