"""What the checks of the store make of it: its place, its answers, its neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest

from locum.cli.examination import storage, store
from locum.cli.examination.finding import Level
from locum.cli.examination.mounts import Mount, mount_of, parsed
from locum.clock import nanoseconds
from locum.identity import MachineKey, ProcessId
from locum.keeper.owner import Owner
from locum.store import Guarantees, Health, SessionState, SessionStatus

PROMISED = Guarantees(
    one_machine=False,
    guarded_writes=True,
    native_sessions=False,
    pushed_changes=True,
    durable=True,
    least_ttl=0.5,
    poll_interval=5.0,
)
MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
30 27 0:40 / /srv rw - nfs4 server:/srv rw,vers=4.2
31 27 0:41 / /srv/local\\040disk rw,nosuid master:2 propagate_from:1 - xfs /dev/vdb rw
32 27 0:42 / /tmp rw - ext4 /dev/vdc rw
33 32 0:43 / /tmp rw - tmpfs tmpfs rw,size=64k
34 27 0:44 / /old ro - ext4 /dev/vdd rw
35 27 0:45 / /image rw - overlay overlay rw,lowerdir=/a
36 27 0:46 / /odd rw - fuse.mine mine rw
"""


def on(path: str) -> Mount | None:
    return mount_of(Path(path), parsed(MOUNTS))


@pytest.mark.parametrize(
    ("path", "point", "level"),
    [
        ("/var/lib/billing.db", "/", Level.HOLDS),
        ("/srvs/billing.db", "/", Level.HOLDS),
        ("/srv/billing.db", "/srv", Level.FAILS),
        ("/srv/local disk/billing.db", "/srv/local disk", Level.HOLDS),
        ("/tmp/billing.db", "/tmp", Level.WEAKER),
        ("/old/billing.db", "/old", Level.FAILS),
        ("/image/billing.db", "/image", Level.WEAKER),
        ("/odd/billing.db", "/odd", Level.WEAKER),
    ],
)
def test_file_systems(path: str, point: str, level: Level) -> None:
    mount = on(path)
    assert mount is not None
    assert mount.point == point
    assert storage.file_system(mount).level is level


def test_a_later_mount_covers_an_earlier_one() -> None:
    mount = on("/tmp/x")
    assert mount is not None
    assert mount.kind == "tmpfs"


def test_a_path_on_no_mount_is_not_known() -> None:
    assert storage.file_system(None).level is Level.UNKNOWN


def test_space_and_rights() -> None:
    assert [storage.space(mib * 2**20).level for mib in (1, 20, 5000)] == [Level.FAILS, Level.WEAKER, Level.HOLDS]
    assert storage.rights([], "/x", is_writable=True).level is Level.HOLDS
    assert storage.rights([], "/x", is_writable=False).level is Level.FAILS
    assert "b.db-wal" in storage.rights(["b.db-wal"], "/x", is_writable=True).fact


@pytest.mark.parametrize(
    ("trips", "ttl", "level"),
    [
        ([0.0001] * 20, 6.0, Level.HOLDS),
        ([0.001] * 19 + [0.4], 6.0, Level.WEAKER),
        ([0.001] * 19 + [2.0], 6.0, Level.WEAKER),
        ([1.2] * 20, 6.0, Level.FAILS),
        ([0.3] * 20, 1.5, Level.FAILS),
        ([0.001], 0.1, Level.FAILS),
    ],
)
def test_round_trips_against_the_ttl(trips: list[float], ttl: float, level: Level) -> None:
    assert store.budget(trips, ttl).level is level


OURS = MachineKey("boot", "pid:[1]", "time:[1]")


def session(key: MachineKey, start: int = 7) -> SessionStatus:
    owner = Owner("web-1", "web", key, keeper=ProcessId(10, start), worker=ProcessId(11, start))
    return SessionStatus("0" * 32, SessionState.OPEN, owner.to_bytes(), nanoseconds(6), 1)


@pytest.mark.parametrize(
    ("found", "sees", "word"),
    [
        (session(OURS), True, ""),
        (session(MachineKey("other", "pid:[1]", "time:[1]")), True, "another boot"),
        (session(MachineKey("boot", "pid:[2]", "time:[1]")), True, "another pid namespace"),
        (session(MachineKey("boot", "pid:[1]", "time:[2]")), True, "another time namespace"),
        (session(OURS), False, "our /proc"),
        (session(OURS, start=0), True, "start times"),
        (SessionStatus("0" * 32, SessionState.OPEN, b"?", nanoseconds(6), 1), True, "unreadable"),
    ],
)
def test_whose_death_is_witnessed_and_whose_observed(found: SessionStatus, sees: bool, word: str) -> None:
    said = store.neighbour(found, key=OURS, sees=sees)
    assert said.witnessed == (not word)
    assert word in said.how
    assert ("observed (6 s)" in said.how) == bool(word)


@pytest.mark.parametrize(("flaws", "level"), [("", Level.HOLDS), ("it forgets", Level.WEAKER)])
def test_a_version_that_is_known_to_be_bad_is_named(flaws: str, level: Level) -> None:
    health = Health("Mango 1.0", 0.001, 1, flaws)
    (found, *_) = store.findings(store.Answers("mango://x", "billing", health, [0.001], PROMISED, []), ttl=None)
    assert found.level is level
    assert flaws in found.fact
    assert not flaws or "upgrade the server" in found.advice
