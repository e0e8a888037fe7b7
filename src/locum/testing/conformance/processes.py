"""A store that several processes share, or says that they do not."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, ClassVar, Final

from locum.store import ABSENT
from locum.testing.conformance.contract import Contract, promises
from locum.testing.conformance.harness import Ability
from locum.testing.conformance.kit import soon

if TYPE_CHECKING:
    from locum.store import Store
    from locum.testing.conformance.harness import StoreHarness

__all__ = ["ProcessContract"]

_READER: Final = """
import asyncio, sys
from locum.clock import Clock
from locum.registry import make_store

async def main():
    store = make_store(sys.argv[1], namespace="billing", clock=Clock())
    store.call_timeout = 10.0
    await store.open()
    record = await store.read("a")
    print(None if record is None else record.revision)
    await store.close()

asyncio.run(main())
"""


class ProcessContract(Contract):
    """What is promised of other processes."""

    needs: ClassVar[tuple[Ability, ...]] = (Ability.URL,)

    @promises("one_process")
    async def test_another_process_shares_it_unless_it_lives_in_one(self, store: Store, place: StoreHarness) -> None:
        written = await store.write("a", b"", expect=ABSENT)
        reader = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _READER, place.url(), stdout=asyncio.subprocess.PIPE
        )
        said, _ = await soon(reader.communicate())
        assert reader.returncode == 0
        found = said.decode().strip()
        assert found == ("None" if store.guarantees().one_process else str(written.revision))

    @promises("one_machine")
    async def test_what_lives_in_one_process_lives_on_one_machine(self, store: Store) -> None:
        promised = store.guarantees()
        assert promised.one_machine or not promised.one_process
