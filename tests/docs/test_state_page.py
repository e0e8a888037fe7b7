"""The page on what is promised of a state."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from locum.state import checkpointing, commits, database, idempotency
from locum.state.database import opened
from locum.state.record import LONGEST_KEY
from locum.state.state import State
from tests.docs.pages import ROOT, programs

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "docs/explanation/state.md"


async def test_the_transaction_of_the_page_is_applied_once(tmp_path: Path) -> None:
    (program,) = programs(PAGE)
    names: dict[str, Any] = {"State": State}
    exec(program, names)  # noqa: S102 - a page of our own
    async with (
        opened(f"sqlite:///{tmp_path}/state.db", namespace="billing") as there,
        State(there, "hits", "0") as state,
    ):
        await state.promote(1)
        assert await names["hit"](state, "/", "request 1") == 1
        assert await names["hit"](state, "/", "request 2") == 2
        assert await names["hit"](state, "/", "request 1") == 1
        assert state.dictionary("counts").read("/") == 2


def test_the_page_names_the_numbers_as_they_are() -> None:
    text = re.sub(r"\s+", " ", (ROOT / PAGE).read_text())
    assert f"up to {commits.LIMIT:g} s" in text
    assert f"last {idempotency.KEPT:,} keys" in text
    assert f"{checkpointing._DUE} records or {checkpointing._DUE_CHANGES:,} changes" in text
    assert f"never more than {checkpointing.AHEAD:,} records ahead" in text
    assert f"up to {LONGEST_KEY} characters" in text
    assert database._POLL == 0.5, "every half second"
