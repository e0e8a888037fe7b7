"""What kind of file system a folder is on: SQLite's locks and shared memory hold on one machine's disks only (R26)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["NETWORK", "file_system"]

NETWORK: Final = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "fuse.ceph",
        "fuse.ceph-fuse",
        "fuse.curlftpfs",
        "fuse.davfs",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.goofys",
        "fuse.juicefs",
        "fuse.mfs",
        "fuse.moosefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.seaweedfs",
        "fuse.smbnetfs",
        "fuse.sshfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "pvfs2",
        "smb3",
        "smbfs",
        "wekafs",
    }
)
"""File systems that several machines may have mounted."""

_MOUNTS: Final = Path("/proc/self/mountinfo")


def file_system(folder: Path, *, mounts: Path = _MOUNTS) -> str:
    """The kind of file system that a folder is on, as the kernel calls it.

    Args:
        folder: The folder; links are followed.
        mounts: The kernel's table of mounts.

    Returns:
        The name; empty where the kernel does not tell.
    """
    try:
        lines = mounts.read_bytes().splitlines()
    except OSError:
        return ""
    resolved = folder.resolve()
    best, kind = -1, ""
    for line in lines:
        fields = line.split(b" ")
        point = Path(_plain(fields[4]))
        if resolved.is_relative_to(point) and len(point.parts) >= best:  # of two on one point the later hides the other
            best, kind = len(point.parts), fields[fields.index(b"-") + 1].decode("ascii", "replace")
    return kind


def _plain(field: bytes) -> str:
    """A path as the table writes it, with spaces and the like as octal numbers."""
    for number in (b"040", b"011", b"012", b"134"):
        field = field.replace(b"\\" + number, bytes([int(number, 8)]))
    return field.decode("utf-8", "surrogateescape")
