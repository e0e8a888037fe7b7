"""F25: the wall clocks of all processes jump, each by itself; leases are counted on a clock that does not (R4, R29)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.places import SERVERS
from tests.faults.kit.runs import count, hurt, takeovers
from tests.faults.kit.waiting import pass_by, until
from tests.faults.kit.wallclocks import NEEDS_LIBFAKETIME, JumpingClocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.kit.places import Place

TTL = 3.0
KILLS = ["worker-killed", "instance-killed"]
pytestmark = NEEDS_LIBFAKETIME


@pytest.fixture
def jumping(tmp_path: Path, place: Place) -> Iterator[JumpingClocks]:
    (folder := tmp_path / "jumping").mkdir()
    with JumpingClocks(folder, place=place, app="clocks", ttl=TTL) as cluster:
        yield cluster


@pytest.fixture
def steady(tmp_path: Path) -> Path:
    """A folder for instances with good clocks."""
    (folder := tmp_path / "steady").mkdir()
    return folder


def tokens(cluster: JumpingClocks) -> set[int]:
    """The tokens of all rows so far."""
    cluster.rows.read()
    return {row.token for row in cluster.rows.rows}


def judge_clocks(cluster: JumpingClocks, jumps: int) -> None:
    """The instances did see what this is about, keepers too."""
    for instance in cluster.alive():
        assert cluster.jumps(instance) >= jumps, f"the wall clock of {instance.name} did not jump"
        pids = cluster.pids(instance)
        for pid in (pids.keeper, pids.worker):
            assert "libfaketime" in Path(f"/proc/{pid}/maps").read_text(), "it runs by the machine's own wall clock"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KILLS)
def test_f25_wall_clocks_jump(jumping: JumpingClocks, steady: Path, kind: str) -> None:
    """Nobody but the one who is killed loses its term, and that costs no more than with good clocks."""
    without = takeovers(kind, count(10, small=2), steady)
    found = jump_and_kill(jumping, kind)
    # what it must not cost is a TTL; all else is a machine that has more to do
    assert min(found) < 10 * max(takeover.ms for takeover in without) + 100, f"{found} ms, and {without} without"


@pytest.mark.stores(*SERVERS, thorough=True)
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KILLS)
def test_f25_wall_clocks_of_all_but_the_server_jump(jumping: JumpingClocks, kind: str) -> None:
    jump_and_kill(jumping, kind)


def jump_and_kill(jumping: JumpingClocks, kind: str) -> list[float]:
    """Nobody else becomes active and no other session is lost; what the takeovers took, in milliseconds."""
    jumping.three()
    jumping.begin_to_jump()
    found = []
    for _ in range(count(10, small=1, on=jumping.place)):
        active = jumping.stand()
        known = tokens(jumping)
        sessions = {name: status.id for name, status in jumping.window.sessions().items()}
        pass_by(1.5 * TTL)
        assert tokens(jumping) == known, "somebody else became active, though nobody was hurt"
        takeover = hurt(jumping, kind, within=0.75 * TTL)
        pass_by(1.5 * TTL)
        assert tokens(jumping) == known | {takeover.new}, "more than the one that was hurt lost its term"
        assert {name: status.id for name, status in jumping.window.sessions().items() if name != active.name} == {
            name: id for name, id in sessions.items() if name != active.name
        }, "a session was lost"
        found.append(takeover.ms)
    until(lambda: len(jumping.window.journal(jumping.service)) == len(found), "an entry in the journal for each kill")
    jumping.judge()
    judge_clocks(jumping, jumps=5)
    return found
