"""Where the store's file lies: is that a place where SQLite's locks and shared memory are what they promise?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from locum.cli.examination.finding import Finding, Level, Said, check
from locum.cli.examination.mounts import mount_of, mounts
from locum.stores.sqlite.mounts import NETWORK

if TYPE_CHECKING:
    from pathlib import Path

    from locum.cli.examination.mounts import Mount

__all__ = ["file_system", "findings", "rights", "space"]

_LOCAL: Final = ("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "jfs", "reiserfs", "nilfs2")
_SHARED: Final = NETWORK | {"davfs", "fuse.mount-s3", "fuse.vmhgfs-fuse", "prl_fs", "vboxsf", "virtiofs", "vmhgfs"}
_MEMORY: Final = ("tmpfs", "ramfs")
_MIB: Final = 1024 * 1024
_LITTLE: Final = 64 * _MIB
_NOTHING: Final = 4 * _MIB  # less than one checkpoint may need


def findings(file: Path) -> list[Finding]:
    """What the store's file lies on; it need not be there yet."""
    return [_file_system(file), _space(file), _rights(file)]


@check("file-system", "File system")
def _file_system(file: Path) -> Said:
    return file_system(mount_of(file.resolve(), mounts()))


def file_system(mount: Mount | None) -> Said:
    """Whether SQLite is safe on such a file system, and what it keeps."""
    if mount is None:
        return Said(Level.UNKNOWN, "no mount holds the store's file")
    fact = f"{mount.kind} on {mount.point}"
    if mount.kind in _SHARED:
        return Said(
            Level.FAILS,
            f"{fact}: shared with other machines, where SQLite's locks and shared memory are not kept",
            "put the file on a disk of this machine, or use a server as store",
        )
    if "ro" in mount.options:
        return Said(Level.FAILS, f"{fact}, read-only", "mount it for writing, or put the file elsewhere")
    if mount.kind in _MEMORY:
        return Said(
            Level.WEAKER,
            f"{fact}: kept in memory, gone at the next reboot, and with it every token",
            "put the file on a disk if tokens guard anything that outlives a reboot",
        )
    if mount.kind in ("overlay", "aufs", "fuse.fuse-overlayfs"):
        return Said(
            Level.WEAKER,
            f"{fact}: a container's own layer, gone with the container, and no other container sees it",
            "put the file on a volume that all instances share",
        )
    if mount.kind not in _LOCAL:
        advice = "make sure that it is a disk of this machine, with locks and fsync that work"
        return Said(Level.WEAKER, f"{fact}, which is not known to be safe for SQLite", advice)
    return Said(Level.HOLDS, fact)


@check("space", "Free space")
def _space(file: Path) -> Said:
    found = os.statvfs(file if file.exists() else file.parent)
    return space(found.f_bavail * found.f_frsize)


def space(free: int) -> Said:
    """Whether so many bytes are enough for the store to go on."""
    fact = f"{free / _MIB:,.0f} MiB" if free < 10 * 1024 * _MIB else f"{free / 1024 / _MIB:,.0f} GiB"
    if free < _NOTHING:
        return Said(Level.FAILS, fact, "free some: on a full disk no beat is written, and every term ends")
    if free < _LITTLE:
        return Said(Level.WEAKER, fact, "free some before the disk is full: then every term ends")
    return Said(Level.HOLDS, fact)


@check("rights", "Rights")
def _rights(file: Path) -> Said:
    beside = [file.with_name(file.name + ending) for ending in ("", "-wal", "-shm", "-queue", "-wake")]
    there = [one for one in beside if one.exists()]
    return rights([one.name for one in there if not _writable(one)], str(file.parent), _writable(file.parent))


def _writable(path: Path) -> bool:
    return os.access(path, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def rights(closed: list[str], folder: str, is_writable: bool) -> Said:
    """Whether this user may run an instance on the file.

    Args:
        closed: What of the store's files may not be written.
        folder: Where they lie.
        is_writable: Whether files may be made there.
    """
    if closed:
        advice = "look as the user who runs the instances, or give this one the right"
        return Said(Level.FAILS, f"this user may not write {', '.join(closed)}", advice)
    if not is_writable:
        advice = "give it: SQLite makes and removes files beside the store"
        return Said(Level.FAILS, f"this user may not make files in {folder}", advice)
    return Said(Level.HOLDS, "this user may read and write the file and what lies beside it")
