"""How everything is measured: subject after subject, again and again, so that the machine's noise hits all alike."""

from __future__ import annotations

import random
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Self

__all__ = ["Case", "Outcome", "Sample", "Subject", "Unavailable", "interleave"]

_PATIENCE: Final = 3  # turns that a subject may fail before it is left out


class Unavailable(Exception):  # noqa: N818 - it is no error: the run goes on
    """A subject cannot run here; the message says why in one line."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the report.

    Attributes:
        label: Who is measured, and how, in the words of the report.
        kind: What is measured; rows of one kind are compared with each other.
    """

    label: str
    kind: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement.

    Attributes:
        case: Of what.
        values: The numbers by name; the unit stands at the end of the name.
    """

    case: Case
    values: Mapping[str, float]


class Subject(Protocol):
    """Something to be measured: entered once, visited once in every turn."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def cases(self) -> Sequence[Case]:
        """All that can be measured of it."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def visit(self, cases: Sequence[Case], seed: int) -> Iterator[Sample]:
        """Measure these cases in this order.

        Args:
            cases: Some of its own.
            seed: Of everything that is random in the visit.

        Raises:
            Unavailable: By `__enter__` too.
        """


@dataclass(slots=True)
class Outcome:
    """What came of a run.

    Attributes:
        samples: All of them, as they were measured.
        left_out: Why a subject is missing.
        failures: Turns that failed, in a line each; what they had measured before is among the samples.
    """

    samples: list[Sample] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def values(self, case: Case, name: str) -> list[float]:
        """The numbers of that name in a case."""
        return [sample.values[name] for sample in self.samples if sample.case == case and name in sample.values]

    def cases(self) -> list[Case]:
        """The cases with samples, as they came first."""
        return list(dict.fromkeys(sample.case for sample in self.samples))


def interleave(
    subjects: Sequence[Subject],
    n: int,
    *,
    seed: int,
    fewer: Mapping[str, int] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Visit each subject once a turn, for `n` turns, in an order that changes with the turn.

    Args:
        subjects: Who; one that cannot run is left out, and one that fails again and again.
        n: Turns.
        seed: Of the orders and of the visits: every visit's own follows from it.
        fewer: In how many of the turns cases of a kind take part, where not in all.
        say: Told a line for the first sample of each case in a visit, and for each misfortune.
    """
    outcome = Outcome()
    with ExitStack() as stack:
        present: list[Subject] = []
        for subject in subjects:
            try:
                present.append(stack.enter_context(subject))
            except Unavailable as why:
                outcome.left_out[subject.name] = str(why)
                say(f"without {subject.name}: {why}")
        failed = dict.fromkeys((subject.name for subject in present), 0)
        for turn in range(n):
            order = random.Random(f"{seed} {turn}")
            for subject in order.sample(present, len(present)):
                cases = [case for case in subject.cases if turn < (fewer or {}).get(case.kind, n)]
                told: set[Case] = set()
                try:
                    for sample in subject.visit(order.sample(cases, len(cases)), order.randrange(2**32)):
                        outcome.samples.append(sample)
                        if sample.case not in told:
                            say(f"{turn + 1}/{n} {_line(sample)}")
                        told.add(sample.case)
                except (AssertionError, OSError, RuntimeError) as error:
                    words = (str(error).splitlines() or [repr(error)])[0]
                    line = f"{subject.name}, turn {turn + 1}: {words}"
                    outcome.failures.append(line)
                    say(f"failed: {line}")
                    failed[subject.name] += 1
                    if failed[subject.name] == _PATIENCE:
                        outcome.left_out[subject.name] = f"failed {_PATIENCE} times; at last {line}"
                        present.remove(subject)
    return outcome


def _line(sample: Sample) -> str:
    values = ", ".join(f"{name} {value:.4g}" for name, value in sample.values.items())
    return f"{sample.case.kind} | {sample.case.label}: {values}"
