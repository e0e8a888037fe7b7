"""`python -m benchmarks [FAMILY...] [options]`: measure, show, and keep it in benchmarks/out/."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import costs, shards, state
from benchmarks.jobs import family as jobs
from benchmarks.locks import family as locks
from benchmarks.options import parsed
from benchmarks.stores import family as stores
from benchmarks.takeover import family as takeover

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.options import Options

_PROOF: Final = Path(__file__).parents[1] / "docs" / "proof"
_FAMILIES: Final[dict[str, Callable[[Path, Options], tuple[list[Path], bool]]]] = {
    "takeover": takeover.measure,
    "stores": stores.measure,
    "locks": locks.measure,
    "jobs": jobs.measure,
    "costs": costs.measure,
    "shards": shards.measure,
    "state": state.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the families that are wanted, one after the other."""
    options = parsed(arguments, list(_FAMILIES))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that servers and peers end too
    all_went_well = True
    with tempfile.TemporaryDirectory(prefix="locum-bench-", dir=options.folder) as name:
        for family, measure in _FAMILIES.items():
            if family in (options.families or _FAMILIES):
                written, went_well = measure(Path(name), options)
                all_went_well &= went_well
                if options.proof:
                    written += [Path(shutil.copy(path, _PROOF)) for path in written]
                for path in written:
                    sys.stdout.write(f"written: {path}\n")
    return 0 if all_went_well else 1


if __name__ == "__main__":
    sys.exit(main())
