"""The age of beats whose numbers mean nothing here: timed by whoever looks for long enough."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from locum.clock import seconds

if TYPE_CHECKING:
    from locum.views.status import Status

__all__ = ["BeatWatch"]


class BeatWatch:
    """Times the beats of other machines on this machine's clock, from the moment their number is seen to change."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int | None, int | None]] = {}

    def timed(self, status: Status, *, now: int) -> Status:
        """The picture with ages for the beats that its own reader could not time.

        Args:
            status: The picture, read just now.
            now: This machine's boot clock (ns).
        """
        seen: dict[str, tuple[int | None, int | None]] = {}
        instances = []
        for one in status.instances:
            before = self._seen.get(one.session)
            if before is None:
                seen[one.session] = (one.beat, None)  # who knows how old it was when we came
            else:
                seen[one.session] = before if before[0] == one.beat else (one.beat, now)
            changed = seen[one.session][1]
            if one.beat_age is None and changed is not None:
                one = replace(one, beat_age=seconds(now - changed))
            instances.append(one)
        self._seen = seen
        return replace(status, instances=tuple(instances))
