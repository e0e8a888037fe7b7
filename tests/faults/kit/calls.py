"""How many calls a process makes to its store, by standing between the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from locum.coordination import coordinator
from locum.registry import make_store
from locum.testing.interception import InterceptedStore

if TYPE_CHECKING:
    from locum.testing.interception import Call

__all__ = ["CountedStore", "count_calls"]


class CountedStore(InterceptedStore):
    """Counts the calls that recipes make.

    Attributes:
        count: How many there were.
    """

    count = 0

    async def intercept(self, call: Call) -> Any:
        """Count it, and make it."""
        # what a coordinator hears of others, every few seconds, is no part of what it does; nor is the question whether
        # anything has changed, which names no session
        asks_for_news = (call.name, call.subject) == ("sessions", "")
        self.count += not asks_for_news and not str(call.subject).startswith("request/")
        return await call.make()


def count_calls() -> list[CountedStore]:
    """Count those of every coordinator that connects in this process from here on.

    Returns:
        Their stores, as they come: each has its own first, and then its keeper's.
    """
    stores: list[CountedStore] = []

    def counted(url: str, **given: Any) -> CountedStore:
        stores.append(CountedStore(make_store(url, **given)))
        return stores[-1]

    vars(coordinator)["make_store"] = counted
    return stores
