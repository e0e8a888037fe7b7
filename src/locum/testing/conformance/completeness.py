"""Whether a driver keeps every contract that binds it, and every guarantee has a test."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Final

from locum.store import Guarantees
from locum.testing.conformance.contract import Contract, promises_of
from locum.testing.conformance.elections import ElectionContract
from locum.testing.conformance.harness import Ability
from locum.testing.conformance.incarnations import IncarnationContract
from locum.testing.conformance.journals import JournalContract
from locum.testing.conformance.lines import LineContract
from locum.testing.conformance.locks import LockContract, SharedContract
from locum.testing.conformance.losses import DurabilityContract, LossContract
from locum.testing.conformance.members import MembersContract, NamingContract
from locum.testing.conformance.nodes import NodesContract
from locum.testing.conformance.outages import OutageContract
from locum.testing.conformance.processes import ProcessContract
from locum.testing.conformance.records import StoreContract
from locum.testing.conformance.sessions import GuardContract, ObserverContract, SessionContract
from locum.testing.conformance.wakeups import WakeUpContract

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from locum.testing.conformance.harness import StoreHarness

__all__ = ["CONTRACTS", "holders", "missing", "unheld"]

CONTRACTS: Final[tuple[type[Contract], ...]] = (
    StoreContract,
    SessionContract,
    ObserverContract,
    GuardContract,
    WakeUpContract,
    IncarnationContract,
    OutageContract,
    LossContract,
    DurabilityContract,
    ProcessContract,
    LineContract,
    ElectionContract,
    LockContract,
    SharedContract,
    NodesContract,
    MembersContract,
    NamingContract,
    JournalContract,
)
"""All contracts."""


def missing(
    harness: type[StoreHarness],
    kept: Iterable[type],
    guarantees: Guarantees,
    *,
    contracts: Sequence[type[Contract]] = CONTRACTS,
) -> list[str]:
    """What is neither kept nor accounted for, one sentence each.

    Args:
        harness: The driver's.
        kept: The test classes that have this harness.
        guarantees: What the driver's store promises.
        contracts: Those that there are.
    """
    kept = list(kept)
    found = []
    for ability in Ability:
        can, reason = harness.can(ability), harness.cannot.get(ability, "")
        if not can and not reason:
            found.append(f"{harness.__name__} lacks {ability.name}, and does not say in `cannot` why")
        if can and reason:
            found.append(f"{harness.__name__} has {ability.name}, and says that it cannot")
    for contract in contracts:
        keeps = any(issubclass(one, contract) for one in kept)
        binds = contract.binds(guarantees)
        able = all(harness.can(ability) for ability in contract.needs)
        if binds and able and not keeps:
            found.append(f"{contract.__name__} is not kept with {harness.__name__}")
        if keeps and not binds:
            found.append(f"{contract.__name__} is kept with {harness.__name__}, whose store does not promise it")
        if keeps and not able:
            needed = ", ".join(ability.name for ability in contract.needs)
            found.append(f"{contract.__name__} needs {needed}, which {harness.__name__} lacks")
        if binds and not able and any(promised in _kept_by(guarantees) for promised in _held_by(contract)):
            found.append(f"{harness.__name__} lacks what {contract.__name__} needs, and its store promises that")
    return found


def unheld(contracts: Sequence[type[Contract]] = CONTRACTS) -> list[str]:
    """The fields of `Guarantees` that no test holds."""
    held = holders(contracts)
    return [field.name for field in dataclasses.fields(Guarantees) if field.name not in held]


def holders(contracts: Sequence[type[Contract]] = CONTRACTS) -> dict[str, list[str]]:
    """The fields of `Guarantees`, and the tests that hold them."""
    held: dict[str, list[str]] = {}
    for contract in contracts:
        for name, test in inspect.getmembers(contract, inspect.isfunction):
            for guarantee in promises_of(test):
                held.setdefault(guarantee, []).append(f"{contract.__name__}.{name}")
    return held


def _held_by(contract: type[Contract]) -> set[str]:
    return set(holders([contract]))


def _kept_by(guarantees: Guarantees) -> set[str]:
    """The promises that can be broken: those that are made, and are no restriction."""
    restrictions = {"one_process", "one_machine"}
    return {name for name, value in dataclasses.asdict(guarantees).items() if value and name not in restrictions}
