"""Real faults of disks, for tests: full, read-only, of a network, damaged. They take root, and leave nothing behind.

What is mounted is mounted in a mount namespace of the test's own process, and gone with it at the latest.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["NEEDS_ROOT", "full", "network_disk", "overwritten", "read_only", "small_disk"]

NEEDS_ROOT: Final = pytest.mark.skipif(
    os.environ.get("CI") != "true" and (os.geteuid() != 0 or shutil.which("chattr") is None),
    reason="not installed: chattr, or no right to mount",
)
"""For tests that use these faults; with CI=true they fail instead of being left out."""

_NEW_NAMESPACE: Final = 0x00020000
_libc = ctypes.CDLL(None, use_errno=True)
_private: list[bool] = []


@contextmanager
def small_disk(folder: Path, *, kilobytes: int = 1024) -> Iterator[Path]:
    """A disk of its own, in the place of a folder that is made for it."""
    folder.mkdir()
    _mount("none", folder, "tmpfs", f"size={kilobytes}k")
    try:
        yield folder
    finally:
        _libc.umount2(os.fsencode(folder), 2)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Not a byte is free on the disk of a folder, for the length of the block."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def read_only(*paths: Path) -> Iterator[None]:
    """Nobody may change these files and folders, not even root, nor who has them open already."""
    subprocess.run(["chattr", "+i", *map(str, paths)], check=True)
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", *map(str, paths)], check=True)


@contextmanager
def overwritten(path: Path, *, begin: int = 0, end: int | None = None) -> Iterator[None]:
    """Some bytes of a file are noise, for the length of the block.

    By another process: SQLite's locks are this process's, and would be lost with any descriptor of it that is closed.
    """
    copy = path.with_name(path.name + ".good")
    subprocess.run(["cp", "--", str(path), str(copy)], check=True)
    _write(path, begin, f"os.urandom({(end or path.stat().st_size) - begin})")
    try:
        yield
    finally:
        _write(path, 0, f"open({str(copy)!r}, 'rb').read()")
        copy.unlink()


def _write(path: Path, at: int, what: str) -> None:
    program = f"import os; os.pwrite(os.open({str(path)!r}, os.O_WRONLY), {what}, {at})"
    subprocess.run([sys.executable, "-c", program], check=True)


@contextmanager
def network_disk(folder: Path, kind: str) -> Iterator[Path]:
    """An empty folder on a network file system, as far as the kernel can tell: a FUSE one called so."""
    folder.mkdir()
    fd = os.open("/dev/fuse", os.O_RDWR)
    _mount(kind, folder, kind, f"fd={fd},rootmode=40000,user_id=0,group_id=0")
    threading.Thread(target=_serve, args=(fd,), name="network disk", daemon=True).start()
    try:
        yield folder
    finally:
        _libc.umount2(os.fsencode(folder), 2)  # its thread ends with it


def _mount(source: str, folder: Path, kind: str, options: str) -> None:
    if not _private:
        _check(_libc.unshare(_NEW_NAMESPACE))  # of this thread, and of all that it starts from here on
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        _private.append(True)
    _check(_libc.mount(source.encode(), os.fsencode(folder), kind.encode(), 0, options.encode()))


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _serve(fd: int) -> None:
    """Answer the kernel: there is one folder, and nothing in it."""
    folder = struct.pack("<QII", 1, 0, 0) + struct.pack("<6Q10I", 1, *[0] * 8, 0o40777, 2, *[0] * 5)
    while True:
        try:
            request = os.read(fd, 1 << 20)
        except OSError:
            os.close(fd)
            return
        _, opcode, unique = struct.unpack_from("<IIQ", request)
        match opcode:
            case 26:  # INIT
                error, answer = 0, struct.pack("<IIIIHHIIHHI7I", 7, 31, 65536, 0, 1, 1, 65536, 1, 0, 0, 0, *[0] * 7)
            case 3:  # GETATTR
                error, answer = 0, folder
            case 2 | 38 | 42:  # FORGET, DESTROY and BATCH_FORGET want no answer
                continue
            case _:
                error, answer = -2, b""  # ENOENT
        try:
            os.write(fd, struct.pack("<IiQ", 16 + len(answer), error, unique) + answer)
        except OSError:
            pass  # whoever asked is gone
