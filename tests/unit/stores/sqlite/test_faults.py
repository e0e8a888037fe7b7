"""Faults of the file and its disk: one sentence each, in time, and the store works again by itself."""

from __future__ import annotations

import errno
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from locum.clock import Clock, nanoseconds
from locum.errors import ConfigurationError, OutcomeUnknownError, StoreUnavailableError
from locum.names import random_id
from locum.store import ABSENT, ANY, Seen
from locum.stores.sqlite import SqliteStore
from locum.stores.sqlite.faults import in_words
from locum.stores.sqlite.mounts import NETWORK, file_system
from tests.disks import NEEDS_ROOT, full, network_disk, overwritten, read_only, small_disk
from tests.unit.kit import opened, soon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locum.testing.faults import FaultyStore

TTL = nanoseconds(60)


def parts(path: Path) -> list[Path]:
    """The folder and the files of a store, without the shared memory: a write that fails there is a SIGBUS."""
    return [path.parent, *(part for part in path.parent.iterdir() if not part.name.endswith("-shm"))]


@contextmanager
def held_by_a_stranger(path: Path) -> Iterator[None]:
    """Another program holds a transaction open."""
    program = (
        "import sqlite3, sys; db = sqlite3.connect(sys.argv[1], isolation_level=None); db.execute('BEGIN EXCLUSIVE');"
        " print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            process.communicate()


def checkpoint(path: Path) -> None:
    """Bring everything into the file itself."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


async def said_by(store: FaultyStore, session: str, number: int) -> list[str]:
    """What each kind of call that changes something says, one after the other; all must fail, and in time."""
    said = []
    for call in (
        store.write("a", b"new", expect=ANY),
        store.beat(session, number),
        store.close_session(session, reason=b""),
        store.open_session(b"", TTL, random_id()),
    ):
        with pytest.raises((StoreUnavailableError, OutcomeUnknownError)) as failure:
            await soon(call)
        said.append(str(failure.value))
    return said


async def works(store: FaultyStore, session: str, number: int) -> None:
    """It does, and nothing was done meanwhile that was not acknowledged."""
    found = await store.read("a")
    assert found is not None
    assert found.value == b"old"
    await store.write("a", b"old", expect=found.revision)
    await store.beat(session, number)
    assert set((await store.sessions()).by_id) == {session}


async def prepared(store: FaultyStore) -> str:
    await store.write("a", b"old", expect=ABSENT)
    session = random_id()
    await store.open_session(b"me", TTL, session)
    return session


# -- a disk that is full


@NEEDS_ROOT
async def test_a_full_disk_is_told_and_waited_for(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "store.db"
        async with opened(path) as store:
            session = await prepared(store)
            for turn in (1, 2):
                checkpoint(path)  # or there would be room in the -wal
                with full(disk):
                    for said in await said_by(store, session, turn):
                        assert f"the disk of {path} is full" in said
                        assert "free some space there, and it goes on by itself" in said
                    assert await store.read("a") is not None
                await works(store, session, turn)


@NEEDS_ROOT
async def test_a_store_that_cannot_be_made_on_a_full_disk_is_waited_for(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        path = disk / "store.db"
        with full(disk), pytest.raises((StoreUnavailableError, OutcomeUnknownError), match="is full"):
            async with opened(path):
                pass
        async with opened(path) as store:
            await works(store, await prepared(store), 1)


# -- what may not be written


@NEEDS_ROOT
async def test_files_that_become_read_only_are_told_and_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        session = await prepared(store)
        for turn in (1, 2):
            with read_only(*parts(path)):
                for said in await said_by(store, session, turn):
                    assert f"{path} or its folder is read-only" in said
                    assert "mount it writable, or give this user the right to write" in said
            await works(store, session, turn)


@NEEDS_ROOT
async def test_a_store_that_is_opened_while_it_is_read_only_is_waited_for_if_it_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        session = await prepared(store)
        seen = store.seen
    later = SqliteStore(path, namespace="billing", clock=Clock())
    with read_only(*parts(path)):
        for known, kind in ((None, ConfigurationError), (seen, StoreUnavailableError)):
            later.seen = known
            with pytest.raises(kind, match="read-only"):
                await later.open()
    await later.open()
    await later.beat(session, 1)
    await later.close()


@NEEDS_ROOT
async def test_a_folder_that_may_not_be_written_is_a_wrong_configuration(tmp_path: Path) -> None:
    with read_only(tmp_path), pytest.raises(ConfigurationError, match=r"cannot be used.*read-only"):
        async with opened(tmp_path / "store.db"):
            pass


# -- held by a stranger


async def test_a_stranger_who_holds_the_file_is_told_and_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path, call_timeout=0.3) as store:
        session = await prepared(store)
        for turn in (1, 2):
            with held_by_a_stranger(path):
                for said in await said_by(store, session, turn):
                    assert f"another process keeps the file locked; 'fuser -v {path}' shows who" in said
            await works(store, session, turn)


async def test_a_store_that_is_opened_while_a_stranger_holds_it_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        session = await prepared(store)
    with held_by_a_stranger(path), pytest.raises(StoreUnavailableError, match="another process keeps the file locked"):
        async with opened(path, call_timeout=2.0):  # SQLite gives up somewhat earlier, and says why
            pass
    async with opened(path) as store:
        await works(store, session, 1)


# -- damaged


@pytest.mark.parametrize(
    ("begin", "end", "why"),
    [(0, 100, "is no SQLite database"), (4096, None, "is damaged")],
    ids=["header", "pages"],
)
async def test_a_file_that_is_damaged_is_told_and_works_again_when_it_is_whole(
    tmp_path: Path, begin: int, end: int | None, why: str
) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        session = await prepared(store)
        for turn in (1, 2):
            checkpoint(path)
            with overwritten(path, begin=begin, end=end):
                for said in await said_by(store, session, turn):
                    assert f"{path} {why}" in said
                    assert "put a good copy in its place" in said
                with pytest.raises(StoreUnavailableError, match=why):
                    await store.read("a")
            await works(store, session, turn)


@pytest.mark.parametrize(("begin", "end"), [(0, 100), (4096, None)], ids=["header", "pages"])
async def test_a_damaged_file_that_was_seen_is_waited_for_when_it_is_opened(
    tmp_path: Path, begin: int, end: int | None
) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        session = await prepared(store)
        seen = store.seen
    later = SqliteStore(path, namespace="billing", clock=Clock())
    later.seen = seen
    with (
        overwritten(path, begin=begin, end=end),
        pytest.raises(StoreUnavailableError, match="put a good copy in its place"),
    ):
        await later.open()
    await later.open()
    await later.beat(session, 1)
    await later.close()


@pytest.mark.parametrize("change", ["DELETE FROM locum_store", "UPDATE locum_store SET revision = 'noise'"])
async def test_an_identity_that_cannot_be_read_is_damage(tmp_path: Path, change: str) -> None:
    path = tmp_path / "store.db"
    async with opened(path) as store:
        await prepared(store)
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(change)
        for call in (store.read("a"), store.write("a", b"", expect=ANY)):
            with pytest.raises(StoreUnavailableError, match="is damaged"):
                await call
    if "DELETE" in change:
        with pytest.raises(StoreUnavailableError, match="is damaged"):
            async with opened(path):
                pass


async def test_a_file_that_is_no_database_is_a_wrong_configuration(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"this is a text, and it is long enough to be taken for a page of a database" * 20)
    with pytest.raises(ConfigurationError, match=r"store\.db is no SQLite database .* name another file"):
        async with opened(path):
            pass
    assert path.read_bytes().startswith(b"this is a text")


# -- of a network


@NEEDS_ROOT
@pytest.mark.parametrize("kind", ["fuse.sshfs", "fuse.glusterfs"])
async def test_a_disk_of_the_network_is_refused(tmp_path: Path, kind: str) -> None:
    with network_disk(tmp_path / "far away", kind) as disk:
        for seen in (None, Seen(random_id(), 1)):
            store = SqliteStore(disk / "store.db", namespace="billing", clock=Clock())
            store.seen = seen
            with pytest.raises(ConfigurationError, match=rf"network file system \({kind}\).*disk of this machine"):
                await soon(store.open())


TABLE = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
30 22 0:25 / /srv rw shared:5 - nfs4 server:/export rw,vers=4.2
31 30 0:26 / /srv/local\040disk rw master:3 propagate_from:2 - xfs /dev/vdb rw
32 22 0:27 / /far rw - ext4 /dev/vdc rw
33 32 0:28 / /far rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/home", "ext4"),
        ("/srv", "nfs4"),
        ("/srv/app/data", "nfs4"),
        ("/srv/local disk/app", "xfs"),
        ("/srvx", "ext4"),
        ("/far/away", "cifs"),
    ],
)
def test_the_file_system_of_a_folder_is_the_last_one_mounted_nearest_to_it(
    tmp_path: Path, folder: str, kind: str
) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(TABLE)
    assert file_system(Path(folder), mounts=table) == kind


def test_the_kernel_tells_of_every_folder_here(tmp_path: Path) -> None:
    assert file_system(tmp_path) not in {"", *NETWORK}
    assert file_system(tmp_path, mounts=tmp_path / "nothing") == ""


# -- words


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "is full"),
        (OSError(errno.EROFS, "Read-only file system"), "is read-only"),
        (OSError(errno.EIO, "Input/output error"), "fails (.*): see what the kernel's log says"),
        (sqlite3.ProgrammingError("Cannot operate on a closed database."), "SQLite says 'Cannot operate"),
    ],
)
def test_what_the_kernel_says_is_told_in_our_words(tmp_path: Path, error: OSError | sqlite3.Error, words: str) -> None:
    told = in_words(error, tmp_path / "store.db", "sqlite:///store.db", was_there=True)
    assert isinstance(told, StoreUnavailableError)
    with pytest.raises(StoreUnavailableError, match=words):
        raise told
