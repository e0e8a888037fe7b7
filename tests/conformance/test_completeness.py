"""Every driver keeps every contract that binds it, every guarantee has a test, and no skip hides a broken promise."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import ClassVar

import pytest

from locum import registry
from locum.testing.conformance import CONTRACTS, Contract, StoreHarness, missing, unheld, wrong_skip
from locum.testing.conformance.contract import promises
from tests.conformance.test_memory import MemoryHarness
from tests.conformance.test_memory import TestMemory as Memory

ROOT = Path(__file__).parents[2]
SCHEMES = sorted(registry._OURS)


def of_module(name: str) -> tuple[type[StoreHarness], list[type[Contract]]]:
    """The harness of a driver's test module, and the classes that have it."""
    try:
        module = importlib.import_module(f"tests.conformance.test_{name}")
    except ModuleNotFoundError:
        raise AssertionError(f"the driver {name} has no tests/conformance/test_{name}.py") from None
    kept = [one for one in vars(module).values() if isinstance(one, type) and issubclass(one, Contract)]
    kept = [one for one in kept if one.__module__ == module.__name__]
    assert kept, f"{module.__name__} has no class that inherits a contract"
    (harness,) = {one.harness for one in kept}
    return harness, kept


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_a_driver_keeps_every_contract_that_binds_it(scheme: str, tmp_path: Path) -> None:
    harness, kept = of_module(scheme)
    place = harness(tmp_path)
    await place.start()
    store = place.make("billing")
    await store.open()
    guarantees = store.guarantees()
    assert store.url.partition(":")[0] == scheme
    await store.close()
    await place.stop()
    assert missing(harness, kept, guarantees) == []


def test_every_driver_that_is_registered_is_known_here() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["locum.stores"]
    assert declared == registry._OURS


def test_every_guarantee_has_a_test() -> None:
    assert unheld() == []


def test_every_contract_that_there_is_counts() -> None:
    defined: set[type[Contract]] = set()
    waiting = [Contract]
    while waiting:
        found = [one for one in waiting.pop().__subclasses__() if one.__module__.startswith("locum.")]
        waiting += found
        defined |= {one for one in found if any(name.startswith("test_") for name in vars(one))}
    assert defined == set(CONTRACTS)


# -- and this is noticed


@pytest.mark.parametrize("contract", [one for one in CONTRACTS if one.__name__ != "DurabilityContract"])
def test_a_contract_that_is_not_kept_is_noticed(contract: type[Contract]) -> None:
    others = type("Others", tuple(one for one in Memory.__bases__ if one is not contract), {})
    found = missing(MemoryHarness, [others], MemoryHarness(Path()).make("billing").guarantees())
    assert found == [f"{contract.__name__} is not kept with MemoryHarness"]


def test_an_ability_that_is_left_out_without_a_word_is_noticed() -> None:
    class Silent(MemoryHarness):
        cannot: ClassVar = {}

    found = missing(Silent, [Memory], Silent(Path()).make("billing").guarantees())
    assert found == ["Silent lacks CRASH, and does not say in `cannot` why"]


def test_a_promise_that_cannot_be_tested_is_noticed() -> None:
    from dataclasses import replace

    durable = replace(MemoryHarness(Path()).make("billing").guarantees(), durable=True)
    found = missing(MemoryHarness, [Memory], durable)
    assert found == ["MemoryHarness lacks what DurabilityContract needs, and its store promises that"]


def test_a_guarantee_without_a_test_is_noticed() -> None:
    class Poor(Contract):
        @promises("durable", "least_ttl")
        async def test_some(self) -> None: ...

    assert "durable" not in unheld([Poor])
    assert "guarded_writes" in unheld([Poor])


def test_a_driver_without_a_test_module_is_noticed() -> None:
    with pytest.raises(AssertionError, match=r"the driver mango has no tests/conformance/test_mango\.py"):
        of_module("mango")


@pytest.mark.parametrize(
    ("reason", "ci", "objection"),
    [
        ("Skipped: server not installed: mango", "", None),
        ("Skipped: server not installed: mango", "true", "with CI=true every server is there"),
        ("Skipped: flaky", "", "only 'server not installed' is a reason"),
        ("Skipped: flaky", "true", "only 'server not installed' is a reason"),
    ],
)
def test_only_a_missing_server_is_a_reason_to_skip(
    reason: str, ci: str, objection: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)
    found = wrong_skip(reason)
    assert (found is None) == (objection is None)
    assert objection is None or objection in str(found)
