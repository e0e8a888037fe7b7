"""How often a store is asked: by an idle instance, and until the next of many is active, as the server counts it."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.faults.kit.cluster import Cluster
from tests.faults.kit.counting import watch_writes
from tests.faults.kit.crowds import calls_until_the_next
from tests.faults.kit.places import ServerPlace
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.stores.subjects import StoreSubject
    from tests.faults.kit.places import Place

__all__ = ["counted"]

_TTL: Final = 6.0
_SETTLED: Final = 3.0
_ELECTIONS: Final = (1, 100, 1000)
_WAITING: Final = (100, 1000)


def counted(
    folder: Path, store: StoreSubject, *, seconds: float, say: Callable[[str], None], failures: list[str]
) -> dict[str, float]:
    """Calls a second of an idle instance, and calls until the next of many is active; what failed joins `failures`."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=folder) as name:
        for number in _ELECTIONS:
            (own := Path(name, f"idle-{number}")).mkdir()
            found[f"calls a second, idle in {number} elections"] = _idle(own, store.place(), number, seconds)
            say(f"{store.name}: {found}")
        for number in _ELECTIONS:
            place = store.place()
            if not isinstance(place, ServerPlace):
                continue
            (own := Path(name, f"by-{number}")).mkdir()
            found[f"calls a second, one more stands by in {number} elections, something changes each second"] = (
                _standing_by(own, place, number, seconds)
            )
            say(f"{store.name}: {found}")
        for number in _WAITING:
            place = store.place()
            if not isinstance(place, ServerPlace):
                continue
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    calls = calls_until_the_next(Path(name), place, waiting=number)
            except AssertionError as error:
                failures.append(f"{store.name}, {number} who wait: {error}")
                say(f"failed: {failures[-1]}")
                continue
            found[f"calls of all until the next of {number} is active"] = calls
            say(f"{store.name}: {found}")
    return found


def _idle(folder: Path, place: Place, elections: int, seconds: float) -> float:
    """Calls a second of one instance that is active in so many elections, TTL 6 s; a file's are its transactions."""
    with _active(folder, place, elections) as cluster:
        pass_by(_SETTLED)
        if not isinstance(place, ServerPlace):
            traffic = watch_writes(cluster.database, seconds)
            return round(traffic.commits / traffic.duration, 2)
        return _asked(place, seconds, lambda: None)


def _standing_by(folder: Path, place: ServerPlace, elections: int, seconds: float) -> float:
    """Calls a second of the same and one more who stands by in them all, while each second something else changes."""
    with _active(folder, place, elections) as cluster:
        cluster.start()
        until(lambda: cluster.window.standing() == 2 * elections, f"{elections} more in line", within=300, pause=1.0)
        pass_by(2 * _SETTLED)
        return _asked(place, seconds, lambda: cluster.window.change("something/else"))


@contextlib.contextmanager
def _active(folder: Path, place: Place, elections: int) -> Iterator[Cluster]:
    environment = {"FAULTS_ELECTIONS": str(elections)}
    with (
        contextlib.redirect_stdout(io.StringIO()),
        Cluster(folder, place=place, app="many", ttl=_TTL, environment=environment) as cluster,
    ):
        cluster.start()
        until(lambda: cluster.window.active_in() == elections, f"{elections} terms", within=300, pause=1.0)
        yield cluster


def _asked(place: ServerPlace, seconds: float, meanwhile: Callable[[], object]) -> float:
    """Calls a second, while something is done each second."""
    before, begun = place.calls(), time.monotonic()
    for _ in range(max(1, round(seconds))):
        meanwhile()
        pass_by(1.0)
    return round((place.calls() - before) / (time.monotonic() - begun), 2)
