"""`locum store reset`: what it asks, what it does, and what it says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from locum import exit_codes
from locum.clock import Clock, nanoseconds
from locum.floor import Floor
from locum.names import random_id
from locum.registry import make_store
from tests.unit.cli.kit import locum

if TYPE_CHECKING:
    from pathlib import Path

    from locum.store import Sessions

PLACE = ("--store", "sqlite:///store.db", "--namespace", "billing")


def reset(folder: Path, *options: str) -> tuple[str, int]:
    said = locum(folder, "store", "reset", *PLACE, *options)
    return said.out + said.err, said.code


async def looked_at(folder: Path, *, opening: int = 0) -> tuple[Sessions, Floor]:
    """What the store holds; a number of sessions is opened first."""
    store = make_store(f"sqlite:///{folder}/store.db", namespace="billing", clock=Clock())
    await store.open()
    try:
        for _ in range(opening):
            await store.open_session(b"", nanoseconds(3), random_id())
        return await store.sessions(), await Floor.read(store)
    finally:
        await store.close()


def test_it_ends_all_sessions_and_begins_a_quarantine(tmp_path: Path) -> None:
    before, _ = asyncio.run(looked_at(tmp_path, opening=2))
    text, code = reset(tmp_path, "--yes", "--above", "41")
    assert code == exit_codes.CLEAN
    assert "has a new identity; 2 sessions were ended. Nothing is granted" in text
    assert "for 3 s." in text
    after, floor = asyncio.run(looked_at(tmp_path))
    assert after.incarnation != before.incarnation
    assert after.quarantined
    assert after.by_id == {}
    assert floor.token == 41


def test_without_a_yes_nothing_happens(tmp_path: Path) -> None:
    before, _ = asyncio.run(looked_at(tmp_path, opening=1))
    text, code = reset(tmp_path)
    assert code != exit_codes.CLEAN
    assert "End every session" in text
    after, _ = asyncio.run(looked_at(tmp_path))
    assert (after.incarnation, len(after.by_id), after.quarantined) == (before.incarnation, 1, False)


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    text, code = reset(tmp_path, "--yes")
    assert code == exit_codes.STORE_UNAVAILABLE
    assert "there is no store yet" in text
    assert not (tmp_path / "store.db").exists()


def test_the_statements_that_make_the_tables_are_printed(tmp_path: Path) -> None:
    said = locum(tmp_path, "store", "schema", "postgresql")
    assert (said.code, said.err) == (exit_codes.CLEAN, "")
    assert 'CREATE TABLE IF NOT EXISTS "locum".store' in said.out
    refused = locum(tmp_path, "store", "schema", "redis://db.internal")
    assert (refused.code, refused.out) == (exit_codes.BAD_CONFIGURATION, "")
    assert "redis:// has no tables to be made before: its first instance makes all" in refused.err
