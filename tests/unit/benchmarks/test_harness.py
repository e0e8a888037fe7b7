"""Each subject in every turn, whatever becomes of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.harness import Case, Sample, Unavailable, interleave

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self


class Counter:
    """A subject that notes its visits in a list that all share."""

    def __init__(self, name: str, visits: list[str], *kinds: str, missing: str = "", broken: bool = False) -> None:
        self.name, self.cases = name, tuple(Case(name, kind) for kind in kinds or ("killed",))
        self._visits, self._missing, self._is_broken = visits, missing, broken
        self.seeds: list[int] = []
        self.is_open = False

    def __enter__(self) -> Self:
        if self._missing:
            raise Unavailable(self._missing)
        self.is_open = True
        return self

    def __exit__(self, *_: object) -> None:
        self.is_open = False

    def visit(self, cases: Sequence[Case], seed: int) -> Iterator[Sample]:
        assert self.is_open
        self._visits.append(self.name)
        self.seeds.append(seed)
        for case in cases:
            if self._is_broken:
                raise RuntimeError("it is broken\nin two lines")
            yield Sample(case, {"ms": 1.0})


def test_every_subject_is_visited_once_in_each_turn() -> None:
    visits: list[str] = []
    subjects = [Counter(name, visits) for name in "abc"]
    outcome = interleave(subjects, 20, seed=1)
    turns = ["".join(visits[at : at + 3]) for at in range(0, 60, 3)]
    assert {"".join(sorted(turn)) for turn in turns} == {"abc"}
    assert len(set(turns)) > 1, "the order changes, so that nobody always comes after the same"
    assert [len(outcome.values(case, "ms")) for case in outcome.cases()] == [20, 20, 20]
    assert not any(subject.is_open for subject in subjects)


def test_a_seed_tells_the_orders_and_the_visits() -> None:
    runs = []
    for seed in (1, 1, 2):
        visits: list[str] = []
        subjects = [Counter(name, visits) for name in "ab"]
        interleave(subjects, 10, seed=seed)
        runs.append((visits, [subject.seeds for subject in subjects]))
    assert runs[0] == runs[1] != runs[2]


def test_costly_kinds_take_part_in_fewer_turns() -> None:
    subject = Counter("a", [], "killed", "frozen")
    outcome = interleave([subject], 9, seed=1, fewer={"frozen": 2})
    assert [len(outcome.values(Case("a", kind), "ms")) for kind in ("killed", "frozen")] == [9, 2]


def test_who_cannot_run_is_left_out_with_its_reason() -> None:
    said: list[str] = []
    subjects = [Counter("a", []), Counter("b", [], missing="its server is not installed")]
    outcome = interleave(subjects, 2, seed=1, say=said.append)
    assert outcome.left_out == {"b": "its server is not installed"}
    assert "without b: its server is not installed" in said
    assert (outcome.cases(), outcome.failures) == ([Case("a", "killed")], [])


def test_who_fails_again_and_again_is_left_out_and_its_failures_are_told() -> None:
    visits: list[str] = []
    outcome = interleave([Counter("a", visits), Counter("b", visits, broken=True)], 9, seed=1)
    assert (visits.count("a"), visits.count("b")) == (9, 3)
    assert len(outcome.failures) == 3
    assert outcome.failures[0] == "b, turn 1: it is broken"
    assert "failed 3 times" in outcome.left_out["b"]
