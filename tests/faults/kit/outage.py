"""The store, taken away: another process holds both of its locks, so that it can be read and not written to."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.kit.cluster import Cluster

__all__ = ["store_away"]

_HOLDER: Final = Path(__file__).parents[1] / "apps" / "holder.py"


@contextmanager
def store_away(cluster: Cluster) -> Iterator[None]:
    """The store is away for the length of the block."""
    holder = cluster.beside([sys.executable, str(_HOLDER), str(cluster.database)])
    until(lambda: "held" in cluster.output_beside(), "the store to be held")
    try:
        yield
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
