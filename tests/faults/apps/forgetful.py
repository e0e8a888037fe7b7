"""An active body that writes a row every millisecond, in a worker whose store loses a third of all calls or answers."""

from __future__ import annotations

import functools
import os
import random
from typing import TYPE_CHECKING, Any

from locum import Host, Term
from locum.clock import Clock
from locum.errors import OutcomeUnknownError
from locum.registry import make_store
from tests.faults.apps.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

host = Host("faults")
STORE = type(make_store(os.environ["LOCUM_STORE"], namespace="faults", clock=Clock()))
ledger = Ledger()


def forgetful(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The call of the store, which may not be heard, and whose answer may not come."""

    @functools.wraps(call)
    async def lossy(*given: Any, **named: Any) -> Any:
        luck = random.random()
        if luck < 1 / 6:
            raise OutcomeUnknownError("the store", call.__name__)
        answer = await call(*given, **named)
        if luck < 1 / 3:
            raise OutcomeUnknownError("the store", call.__name__)
        return answer

    return lossy


# the keeper, which imports no user's code, keeps a good store: its beats are not what this is about
for name in ("read", "write", "delete", "list", "sessions"):
    setattr(STORE, name, forgetful(getattr(STORE, name)))


@host.active_passive
async def settle(term: Term) -> None:
    async for _ in term.every(0.001):
        ledger.write(term.token)


if __name__ == "__main__":
    host.run()
