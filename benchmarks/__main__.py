"""`python -m benchmarks [FAMILY...] [options]`: measure, show, and keep it in benchmarks/out/."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import costs, limits, machine, report
from benchmarks.harness import interleave
from benchmarks.locks import MANY
from benchmarks.locks.results import rows as lock_rows
from benchmarks.locks.subjects import CONTENDERS, LockSubject
from benchmarks.stores import calls
from benchmarks.stores.results import rows as store_rows
from benchmarks.stores.subjects import everyone
from benchmarks.takeover import FROZEN, WATCHED
from benchmarks.takeover.ours import LocumSubject, LostMachineSubject
from benchmarks.takeover.peers import PEERS, PeerSubject
from benchmarks.takeover.picture import draw
from benchmarks.takeover.results import rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.harness import Subject

_HERE: Final = Path(__file__).parent
_PROOF: Final = _HERE.parent / "docs" / "proof"
_FAMILIES: Final = ("takeover", "stores", "locks", "costs")
_PEERS_BY_SERVER: Final = ("redis-py Lock, renewed", "kazoo Election + listener")  # who share a kind of server with us


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the families that are wanted, one after the other."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that servers and peers end too
    with tempfile.TemporaryDirectory(prefix="locum-bench-", dir=options.folder) as name:
        folder = Path(name)
        codes = [_RUN[family](folder, options) for family in _FAMILIES if family in (options.families or _FAMILIES)]
    return max(codes)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument(
        "families", nargs="*", metavar="FAMILY", help=f"of {', '.join(_FAMILIES)}; all, if none is named"
    )
    parser.add_argument("--n", type=int, default=20, help="turns, and so takeovers of each kind (20)")
    parser.add_argument(
        "--freezes", type=int, help="turns with freezes, which take longest (a quarter of n, at least 3)"
    )
    parser.add_argument(
        "--ttl", type=float, default=5.0, help="of all subjects, in whole seconds; ZooKeeper's least is 4"
    )
    parser.add_argument("--only", nargs="+", metavar="WORD", default=[], help="subjects whose names have one of these")
    parser.add_argument("--seed", type=int, default=0, help="of orders and phases; one is made up if none is given")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds to watch idle instances (costs, stores)")
    parser.add_argument("--turns-for", type=float, default=3.0, help="seconds for which turns are taken (locks)")
    parser.add_argument("--folder", type=Path, help="for stores and servers' data; the system's temporary one if none")
    parser.add_argument(
        "--peers-python", type=Path, default=_HERE / ".venv/bin/python", help="who has the peers' libraries"
    )
    parser.add_argument("--out", type=Path, default=_HERE / "out", help="where the figures and pictures are written")
    parser.add_argument("--proof", action="store_true", help="keep them in docs/proof/ too")
    options = parser.parse_args(arguments)
    if wrong := set(options.families) - set(_FAMILIES):
        parser.error(f"there is no family {sorted(wrong)}; there are {list(_FAMILIES)}")
    options.freezes = max(3, options.n // 4) if options.freezes is None else options.freezes
    options.seed = options.seed or random.randrange(1, 2**32)
    return options


def _takeover(folder: Path, options: argparse.Namespace) -> int:
    facts = machine.facts(folder)
    peers = [PeerSubject(peer, python=options.peers_python, ttl=options.ttl, folder=folder) for peer in PEERS]
    ours = [LocumSubject(ttl=options.ttl, folder=folder), LostMachineSubject(ttl=options.ttl, folder=folder)]
    everyone: list[Subject] = [*ours, *peers]
    chosen = [one for one in everyone if not options.only or any(word in one.name for word in options.only)]
    outcome = interleave(
        [limits.Limits(folder), *chosen], options.n, seed=options.seed, fewer={FROZEN: options.freezes}, say=_say
    )
    found, bare = rows(outcome, options.ttl), report.limit_figures(outcome, limits.KIND)
    versions = [peer.version for peer in peers if peer.version and peer.name not in outcome.left_out]
    results: dict[str, Any] = {
        "family": "takeover",
        "seed": options.seed,
        "n": options.n,
        "ttl": options.ttl,
        "machine": facts,
        "versions": versions,
        "limits": bare,
        "least after a death, ms": limits.least(outcome, death=True),
        "least in peace, ms": limits.least(outcome, death=False),
        "rows": found,
        "without": outcome.left_out,
        "failures": outcome.failures,
    }
    report.show_machine(machine.describe(facts))
    report.show_limits(bare)
    report.show_takeovers(found, options.ttl)
    report.show_missing(outcome)
    written = [report.keep(results, options.out / "takeover.json")]
    if found:
        notes = [f"{machine.describe(facts)}; seed {options.seed}", *_notes(versions, outcome.left_out)]
        picture = draw(found, ttl=options.ttl, least=limits.least(outcome, death=True), notes=notes)
        written.append(options.out / "takeover.svg")
        written[-1].write_text(picture)
    _done(written, options)
    return int(bool(outcome.failures))


def _notes(versions: Sequence[str], left_out: dict[str, str]) -> list[str]:
    of_peers = f"{', '.join(versions)}; their servers on the same machine, one node each" if versions else ""
    missing = [f"without {name}: {why}" for name, why in left_out.items()]
    return [
        *([of_peers] if of_peers else []),
        *missing,
        "below n = 100 the p99 is the largest",
        f"after a freeze the rows are watched for {WATCHED[FROZEN]:g} s",
    ]


def _stores(folder: Path, options: argparse.Namespace) -> int:
    facts = machine.facts(folder)
    stores = everyone(ttl=options.ttl, folder=folder)
    peers = [peer for peer in PEERS if peer.label in _PEERS_BY_SERVER]
    subjects: list[Subject] = [
        *stores,
        *(PeerSubject(peer, python=options.peers_python, ttl=options.ttl, folder=folder) for peer in peers),
    ]
    chosen = [one for one in subjects if not options.only or any(word in one.name for word in options.only)]
    outcome = interleave([limits.Limits(folder), *chosen], options.n, seed=options.seed, fewer={FROZEN: 0}, say=_say)
    found = store_rows(outcome, [one.name for one in chosen])
    counts = {}
    for store in stores:
        if store in chosen and store.name not in outcome.left_out:
            with store:
                counts[store.name] = calls.counted(folder, store, seconds=options.idle, say=_say)
    report.show_machine(machine.describe(facts))
    report.show_stores(found, options.ttl)
    for name, counted in counts.items():
        report.show_costs(f"{name}: how often it is asked", counted)
    report.show_missing(outcome)
    results = {
        "family": "stores",
        "seed": options.seed,
        "n": options.n,
        "ttl": options.ttl,
        "machine": facts,
        "rows": found,
        "calls": counts,
        "without": outcome.left_out,
        "failures": outcome.failures,
    }
    _done([report.keep(results, options.out / "stores.json")], options)
    return int(bool(outcome.failures))


def _locks(folder: Path, options: argparse.Namespace) -> int:
    facts = machine.facts(folder)
    given = {"python": options.peers_python, "ttl": options.ttl, "seconds": options.turns_for, "folder": folder}
    everybody = [LockSubject(contender, **given) for contender in CONTENDERS]
    chosen = [one for one in everybody if not options.only or any(word in one.name for word in options.only)]
    outcome = interleave(chosen, options.n, seed=options.seed, fewer={MANY: max(1, options.n // 4)}, say=_say)
    found = lock_rows(outcome)
    report.show_machine(machine.describe(facts))
    report.show_locks(found)
    report.show_missing(outcome)
    results = {
        "family": "locks",
        "seed": options.seed,
        "n": options.n,
        "ttl": options.ttl,
        "machine": facts,
        "versions": [one.version for one in chosen if one.version and one.name not in outcome.left_out],
        "rows": found,
        "without": outcome.left_out,
        "failures": outcome.failures,
    }
    _done([report.keep(results, options.out / "locks.json")], options)
    return int(bool(outcome.failures))


def _costs(folder: Path, options: argparse.Namespace) -> int:
    facts = machine.facts(folder)
    place = folder / "idle"
    place.mkdir()
    imports, hosts = costs.imports(max(5, options.n // 2)), costs.hosts(folder, max(5, options.n // 2))
    idle = costs.idle(place, seconds=options.idle)
    report.show_machine(machine.describe(facts))
    report.show_costs("imports", imports)
    report.show_costs("a host of 100 services (wanted: at most 200 ms)", hosts)
    report.show_costs("idle, TTL 6 s", idle)
    results = {"family": "costs", "machine": facts, "imports": imports, "hosts": hosts, "idle": idle}
    _done([report.keep(results, options.out / "costs.json")], options)
    return 0


def _done(written: list[Path], options: argparse.Namespace) -> None:
    if options.proof:
        _PROOF.mkdir(parents=True, exist_ok=True)
        written += [Path(shutil.copy(path, _PROOF)) for path in written]
    for path in written:
        sys.stdout.write(f"written: {path}\n")


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


_RUN: Final = {"takeover": _takeover, "stores": _stores, "locks": _locks, "costs": _costs}

if __name__ == "__main__":
    sys.exit(main())
