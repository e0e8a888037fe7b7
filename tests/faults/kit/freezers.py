"""Control groups that are frozen: what container engines and service managers do when they pause something.

A process that version 2 has frozen can be killed. In version 1 a kill is pending until the thaw.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

__all__ = ["NEEDS_FREEZER_V1", "NEEDS_FREEZER_V2", "Freezer"]


class Freezer:
    """A control group of our own.

    Args:
        version: Of control groups: 1 or 2.
    """

    def __init__(self, version: int) -> None:
        hierarchy = _hierarchy(version)
        assert hierarchy is not None, f"no hierarchy of control groups, version {version}, may be written here"
        self._version = version
        self._top = hierarchy
        self._group = hierarchy / f"locum-faults-{uuid.uuid4().hex}"

    def __enter__(self) -> Self:
        self._group.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        for pid in (self._group / "cgroup.procs").read_text().split():
            try:
                (self._top / "cgroup.procs").write_text(pid)
            except ProcessLookupError:
                pass  # it has ended
        until(self._is_removed, "the end of a control group")

    def freeze(self, pids: Iterable[int]) -> None:
        """Freeze some processes; they are frozen when this returns."""
        for pid in pids:
            (self._group / "cgroup.procs").write_text(str(pid))
        self._set(frozen=True)
        until(self._is_frozen, "a control group to be frozen")

    def thaw(self) -> None:
        """Let them go on."""
        self._set(frozen=False)

    def _set(self, *, frozen: bool) -> None:
        if self._version == 2:
            (self._group / "cgroup.freeze").write_text(str(int(frozen)))
        else:
            (self._group / "freezer.state").write_text("FROZEN" if frozen else "THAWED")

    def _is_frozen(self) -> bool:
        if self._version == 2:
            return "frozen 1" in (self._group / "cgroup.events").read_text()
        return (self._group / "freezer.state").read_text().strip() == "FROZEN"

    def _is_removed(self) -> bool:
        try:
            self._group.rmdir()
        except OSError:
            return False  # what was in it is still ending
        return True


def _hierarchy(version: int) -> Path | None:
    """Where groups can be made that freeze, if anywhere."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == ("cgroup2" if version == 2 else "cgroup") and (version == 2 or "freezer" in options.split(",")):
            probe = Path(place) / f"locum-probe-{uuid.uuid4().hex}"
            try:
                probe.mkdir()
                found = (probe / ("cgroup.freeze" if version == 2 else "freezer.state")).exists()
                probe.rmdir()
            except OSError:
                continue
            if found:
                return Path(place)
    return None


NEEDS_FREEZER_V1: Final = pytest.mark.skipif(
    _hierarchy(1) is None, reason="not installed: a v1 freezer, on new systems"
)
"""For tests of what only version 1 does, which new systems do not have any more."""
NEEDS_FREEZER_V2: Final = pytest.mark.skipif(
    os.environ.get("CI") != "true" and _hierarchy(2) is None, reason="not installed: control groups v2 that we may make"
)
"""For tests of version 2; with CI=true they fail instead of being left out."""
