"""The contracts that every store keeps, as test classes that a driver's tests inherit.

A driver's test module has a `StoreHarness`, which says how its stores are made and what can be done to them, and one
class that inherits the contracts:

    class TestMango(StoreContract, SessionContract, ...):
        harness = MangoHarness

What a driver cannot have done to it (restarted, wiped, ...) its harness says in `cannot`, with the reason; `missing`
tells what is neither kept nor accounted for. Needs pytest and pytest-asyncio: `pip install 'locum[testing]'`.
"""

import pytest

_REWRITTEN = (
    "elections",
    "incarnations",
    "journals",
    "kit",
    "lines",
    "locks",
    "losses",
    "members",
    "nodes",
    "outages",
    "processes",
    "records",
    "sessions",
    "wakeups",
)
pytest.register_assert_rewrite(*(f"{__name__}.{room}" for room in _REWRITTEN))

from locum.testing.conformance.completeness import CONTRACTS, missing, unheld  # noqa: E402 - only now they are rewritten
from locum.testing.conformance.contract import Contract, promises  # noqa: E402
from locum.testing.conformance.elections import ElectionContract  # noqa: E402
from locum.testing.conformance.harness import Ability, StoreHarness, demand_server, wrong_skip  # noqa: E402
from locum.testing.conformance.incarnations import IncarnationContract  # noqa: E402
from locum.testing.conformance.journals import JournalContract  # noqa: E402
from locum.testing.conformance.lines import LineContract  # noqa: E402
from locum.testing.conformance.locks import LockContract, SharedContract  # noqa: E402
from locum.testing.conformance.losses import DurabilityContract, LossContract  # noqa: E402
from locum.testing.conformance.members import MembersContract, NamingContract  # noqa: E402
from locum.testing.conformance.nodes import NodesContract  # noqa: E402
from locum.testing.conformance.outages import OutageContract  # noqa: E402
from locum.testing.conformance.processes import ProcessContract  # noqa: E402
from locum.testing.conformance.records import StoreContract  # noqa: E402
from locum.testing.conformance.sessions import GuardContract, ObserverContract, SessionContract  # noqa: E402
from locum.testing.conformance.wakeups import WakeUpContract  # noqa: E402

__all__ = [
    "CONTRACTS",
    "Ability",
    "Contract",
    "DurabilityContract",
    "ElectionContract",
    "GuardContract",
    "IncarnationContract",
    "JournalContract",
    "LineContract",
    "LockContract",
    "LossContract",
    "MembersContract",
    "NamingContract",
    "NodesContract",
    "ObserverContract",
    "OutageContract",
    "ProcessContract",
    "SessionContract",
    "SharedContract",
    "StoreContract",
    "StoreHarness",
    "WakeUpContract",
    "demand_server",
    "missing",
    "promises",
    "unheld",
    "wrong_skip",
]
