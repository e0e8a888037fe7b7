"""The patches that break a rule must apply to the code as it is, or nobody would see that a test has gone blind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATCHES = sorted((ROOT / "tests/faults/broken").glob("*.patch"))
CONTRACTS = sorted((ROOT / "src/locum/testing/conformance").glob("*.py"))  # which a driver's tests inherit
SIMULATED = sorted((ROOT / "tests/simulation/broken").glob("*.patch"))


def hunks(patch: Path) -> list[tuple[Path, str]]:
    """What a patch expects to find, by file."""
    found: list[tuple[Path, list[str]]] = []
    file = ROOT
    for line in patch.read_text().splitlines():
        if line.startswith("--- a/"):
            file = ROOT / line.removeprefix("--- a/")
        elif line.startswith("@@"):
            found.append((file, []))
        elif found and not line.startswith(("+", "#")):
            found[-1][1].append(line[1:])
    return [(file, "\n".join(lines)) for file, lines in found]


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_patch_applies_and_names_a_test(patch: Path) -> None:
    _applies(patch)
    head = patch.read_text().splitlines()
    assert head[0].startswith("# test: tests/")
    assert head[1].startswith("# breaks: R" if patch.name.startswith("f") else "# breaks: "), "h: the host's promises"
    module, _, name = head[0].removeprefix("# test: ").partition("::")
    function = name.partition("[")[0].rpartition("::")[2]
    places = [ROOT / module, *(CONTRACTS if module.startswith("tests/conformance/") else ())]
    assert any(f"def {function}(" in place.read_text() for place in places), f"{module} has no test {name}"


@pytest.mark.parametrize("patch", SIMULATED, ids=lambda patch: patch.stem)
def test_a_patch_for_the_simulation_applies_and_states_how_many_seeds_it_takes(patch: Path) -> None:
    _applies(patch)
    head = patch.read_text().splitlines()
    assert head[0].startswith("# breaks: ")
    assert re.fullmatch(r"# seeds: [1-9]\d*(?: by [1-9]\d*)?(?: from [1-9]\d*)?", head[1])


def _applies(patch: Path) -> None:
    expected = hunks(patch)
    assert expected, "it changes nothing"
    for file, text in expected:
        assert text in file.read_text(), f"{file.name} has changed: make {patch.name} anew"
