"""`python -m benchmarks [--n N] [--idle S] [--out FILE]`: measure, print, and write a JSON file."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from benchmarks import costs, limits
from benchmarks.figures import Figure, machine, spread
from tests.faults.kit.runs import takeovers

KINDS = {
    "F01 worker killed": "worker-killed",
    "F02 instance killed": "instance-killed",
    "F03 keeper killed": "keeper-killed",
    "F05 SIGTERM": "terminated",
    "F05 resign": "resigned",
}


def main() -> int:
    """Run everything in turn."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--n", type=int, default=100, help="takeovers of each kind")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds to watch idle instances")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out" / "figures.json")
    options = parser.parse_args()
    results: dict[str, Any] = {"machine": machine()}
    _show("machine", results["machine"])
    with tempfile.TemporaryDirectory(prefix="locum-bench-") as name:
        folder = Path(name)
        results["limits"] = _limits(folder, options.n)
        results["takeover"] = _takeovers(folder, options.n, results["limits"])
        results["imports"] = _section("imports", costs.imports(max(5, options.n // 10)))
        (folder / "idle").mkdir()
        results["idle"] = _section("idle, TTL 6 s", costs.idle(folder / "idle", seconds=options.idle))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1, default=_plain) + "\n")
    sys.stdout.write(f"written to {options.out}\n")
    return 0


def _limits(folder: Path, n: int) -> dict[str, Figure]:
    return _section(
        "limits of this machine",
        {
            "SIGKILL to its notice (pidfd)": spread(limits.deaths(n), "ms"),
            "durable commit": spread(limits.commits(10 * n, folder), "ms"),
            "touch to another process's wake-up": spread(limits.wakeups(10 * n, folder), "ms"),
        },
    )


def _takeovers(folder: Path, n: int, bare: dict[str, Figure]) -> dict[str, Any]:
    # a takeover by death is at least: the notice, the close, a wake-up, and the take
    notice, commit, wake = (figure.p50 for figure in bare.values())
    results: dict[str, Any] = {}
    for title, kind in KINDS.items():
        place = folder / kind
        place.mkdir()
        found = takeovers(kind, n, place)
        results[f"{title}: signal to the successor's first row"] = spread([one.ms for one in found], "ms")
        results[f"{title}: old body's last row to new body's first"] = spread([one.gap_ms for one in found], "ms")
    least = notice + 2 * commit + wake
    ratio = results["F01 worker killed: signal to the successor's first row"].p50 / least
    results["F01 / (notice + 2 commits + wake-up)"] = round(ratio, 2)
    return _section("takeover, three instances on SQLite", results)


def _section(title: str, results: dict[str, Any]) -> dict[str, Any]:
    sys.stdout.write(f"{title}\n")
    for name, value in results.items():
        _show(f"  {name}", value)
    return results


def _show(name: str, value: object) -> None:
    sys.stdout.write(f"{name}: {value}\n")
    sys.stdout.flush()


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{value!r} is no figure")


if __name__ == "__main__":
    sys.exit(main())
