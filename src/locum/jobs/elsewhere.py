"""What only other instances know when to fire: jobs that are not declared here, and triggers of another release."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from locum.jobs.job import Job

__all__ = ["LINE", "Elsewhere"]

LINE: Final = "\n"
"""Stands between the name of a job and its trigger."""

_MOST: Final = 10_000  # they stand in statements, which take some 30,000 values


class Elsewhere:
    """Remembers what was found due and is not known here. What has been forgotten is found again.

    Attributes:
        names: Of jobs, in the order of coming.
        triggers: Of jobs that are known here, with a trigger that is not: both, with a line's end between them.
    """

    def __init__(self) -> None:
        self.names: dict[str, None] = {}
        self.triggers: dict[str, None] = {}

    @property
    def known(self) -> dict[str, list[str]]:
        """Both, as lists."""
        return {"names": list(self.names), "triggers": list(self.triggers)}

    def __len__(self) -> int:
        return len(self.names) + len(self.triggers)

    def forget(self, jobs: Mapping[str, Job]) -> None:
        """These are known here now."""
        for name in [one for one in self.names if one in jobs]:
            del self.names[name]
        for trigger in [one for one in self.triggers if _is_of(one, jobs)]:
            del self.triggers[trigger]

    def add_name(self, name: str) -> None:
        """No job of that name is declared here."""
        _add(self.names, name)

    def add_trigger(self, name: str, text: str) -> None:
        """That job is planned by a trigger that nobody here has."""
        _add(self.triggers, name + LINE + text)


def _is_of(trigger: str, jobs: Mapping[str, Job]) -> bool:
    name, _, text = trigger.partition(LINE)
    return name in jobs and jobs[name].trigger_text == text


def _add(known: dict[str, None], one: str) -> None:
    known[one] = None
    if len(known) > _MOST:
        del known[next(iter(known))]
