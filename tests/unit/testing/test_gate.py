"""The gate between one instance and its store: nothing passes while it is shut, and the other ones notice nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum.clock import Clock
from locum.errors import OutcomeUnknownError, StoreUnavailableError
from locum.registry import make_store
from locum.store import ANY
from locum.testing.gate import Gate, GatedStore
from locum.testing.gate import make_store as make_gated_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from locum.store import Expect, Record, Store


class Late(GatedStore):
    """One whose gate is shut while the answer to a write is on its way."""

    def __init__(self, store: Store, gate: Gate) -> None:
        super().__init__(_ShutsAfterWriting(store, gate), gate, Clock())  # type: ignore[arg-type]


class _ShutsAfterWriting:
    def __init__(self, store: Store, gate: Gate) -> None:
        self._store, self._gate = store, gate
        self.url, self.call_timeout = store.url, 0.1

    async def write(self, key: str, value: bytes, *, expect: Expect, **guards: str | None) -> Record:
        record = await self._store.write(key, value, expect=expect, **guards)
        self._gate.shut()
        return record


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    made = make_store(f"sqlite:///{tmp_path / 'store.db'}", namespace="billing", clock=Clock())
    made.call_timeout = 5.0
    await made.open()
    yield made
    await made.close()


async def test_nothing_passes_a_shut_gate(store: Store, tmp_path: Path) -> None:
    gate = Gate.before(store.url, tmp_path / "i1")
    gated = make_gated_store(gate.url, namespace="billing", clock=Clock())
    gated.call_timeout = 5.0
    await gated.open()
    await gated.write("a", b"1", expect=ANY)
    gated.call_timeout = 0.1
    gate.shut()
    with pytest.raises(StoreUnavailableError, match="no answer came in time"):
        await gated.read("a")
    with pytest.raises(OutcomeUnknownError, match="write on sqlite:"):
        await gated.write("a", b"2", expect=ANY)
    record = await store.read("a")
    assert record is not None
    assert record.value == b"1", "what was lost does not arrive"
    gate.open()
    gated.call_timeout = 5.0
    assert await gated.read("a") == record
    assert gated.seen == store.seen
    await gated.close()


async def test_an_answer_on_its_way_is_lost(store: Store, tmp_path: Path) -> None:
    gate = Gate.before(store.url, tmp_path / "i1")
    with pytest.raises(OutcomeUnknownError):
        await Late(store, gate).write("a", b"1", expect=ANY)
    assert await store.read("a") is not None, "it has happened all the same"


def test_the_url_holds_no_secret(tmp_path: Path) -> None:
    gate = Gate.before("postgresql://billing:hunter2@db/billing", tmp_path / "i1")
    assert "hunter2" not in gate.url
    assert gate.store.endswith(":hunter2@db/billing")
