"""Many takes that one process begins at once: they wait for each other here, and not in the store's own queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from locum.coordination import commons
from locum.scopes import Scope
from tests.unit.kit import instance, soon

if TYPE_CHECKING:
    from pathlib import Path

    from locum.testing.interception import Call

MANY = 100
OF_ONE_LOOK = 3  # calls side by side


async def test_so_many_calls_are_on_their_way_at_once_and_no_more(tmp_path: Path) -> None:
    async with instance(tmp_path / "store.db", "web-1") as one, Scope("takes") as scope:
        running = most = 0
        intercept = one.store.intercept

        async def counted(call: Call) -> Any:
            nonlocal running, most
            running += 1
            most = max(most, running)
            try:
                return await intercept(call)
            finally:
                running -= 1

        one.store.intercept = counted  # type: ignore[method-assign]
        taking = [scope.spawn(one.election(f"{number}").win(), name="take") for number in range(MANY)]
        tokens = [(await soon(take)).token for take in taking]
        assert len(tokens) == MANY
        assert commons._AT_ONCE // 2 < most <= OF_ONE_LOOK * commons._AT_ONCE
