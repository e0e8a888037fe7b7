"""The few calls of the Linux kernel that Python's library does not have (before 3.13), by their C names."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import os
import signal
import time
from dataclasses import dataclass
from typing import Final

from locum.clock import NANOSECONDS
from locum.errors import UnsupportedError

__all__ = [
    "Discipline",
    "become_subreaper",
    "clock_discipline",
    "delete_timer",
    "die_with_parent",
    "has_terminal",
    "make_timer",
    "make_timerfd",
    "set_timer",
    "set_timerfd",
]

_PR_SET_PDEATHSIG: Final = 1
_PR_GET_PDEATHSIG: Final = 2
_PR_SET_CHILD_SUBREAPER: Final = 36
_TIMER_ABSTIME: Final = 1
_SIGEV_SIGNAL: Final = 0
_STA_UNSYNC: Final = 0x40
_TICK: Final = 10_000  # microseconds that 1/100 s has where nobody corrects it


@dataclass(frozen=True, slots=True)
class Discipline:
    """How the kernel corrects the rate of its clocks.

    Attributes:
        rate: Its correction as a factor: 1.0 for none.
        is_synchronised: Whether somebody (NTP, PTP) says that the wall clock is right.
    """

    rate: float
    is_synchronised: bool


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class _Sigevent(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("padding", ctypes.c_byte * 48),
    )


class _Timex(ctypes.Structure):
    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("frequency", ctypes.c_long),  # millionths, times 2^16
        ("max_error", ctypes.c_long),
        ("estimated_error", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("time", _Timespec),
        ("tick", ctypes.c_long),
        ("rest", ctypes.c_byte * 128),
    )


def die_with_parent(parent: int) -> bool:
    """Ask the kernel to kill this process when the thread that forked it ends.

    To be called again after any change of rights, which clears it.

    Args:
        parent: The pid that the parent had.

    Returns:
        Whether the parent is still there; if not, the kernel will not tell, and this process must leave by itself.
    """
    _check(_libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    found = ctypes.c_int()
    _check(_libc().prctl(_PR_GET_PDEATHSIG, ctypes.byref(found), 0, 0, 0), "prctl(PR_GET_PDEATHSIG)")
    if found.value != signal.SIGKILL:
        raise UnsupportedError("the kernel did not take PR_SET_PDEATHSIG: a worker would outlive its keeper")
    return os.getppid() == parent


def become_subreaper() -> None:
    """Adopt every orphan among the descendants, so that it can be ended and reaped here."""
    _check(_libc().prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl(PR_SET_CHILD_SUBREAPER)")


def has_terminal() -> bool:
    """Whether this process's session has a terminal: one that was hung up is gone."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def make_timer(signal_number: int) -> ctypes.c_void_p:
    """A timer on the boot clock that sends this process a signal; neither fork nor exec passes it on."""
    event = _Sigevent(signo=signal_number, notify=_SIGEV_SIGNAL)
    timer = ctypes.c_void_p()
    try:
        _check(_timers().timer_create(time.CLOCK_BOOTTIME, ctypes.byref(event), ctypes.byref(timer)), "timer_create")
    except OSError as error:
        raise UnsupportedError(
            f"the kernel gives no timer that ends this process in time ({error}): raise the limit of pending signals"
            " (ulimit -i), and see `locum doctor`"
        ) from error
    return timer


def set_timer(timer: ctypes.c_void_p, instant: int) -> None:
    """Let a timer fire at an instant of the boot clock (ns), at once if that is past; 0 disarms it."""
    spec = _Itimerspec(value=_timespec(instant))
    _check(_timers().timer_settime(timer, _TIMER_ABSTIME, ctypes.byref(spec), None), "timer_settime")


def delete_timer(timer: ctypes.c_void_p) -> None:
    """Give a timer back: the kernel has few of them for each user."""
    _check(_timers().timer_delete(timer), "timer_delete")


def make_timerfd() -> int:
    """A file descriptor that becomes readable at an instant of the boot clock."""
    return _check(_libc().timerfd_create(time.CLOCK_BOOTTIME, os.O_NONBLOCK | os.O_CLOEXEC), "timerfd_create")


def set_timerfd(fd: int, instant: int) -> None:
    """Let a timer descriptor become readable at an instant of the boot clock (ns); 0 disarms it."""
    spec = _Itimerspec(value=_timespec(instant))
    _check(_libc().timerfd_settime(fd, _TIMER_ABSTIME, ctypes.byref(spec), None), "timerfd_settime")


def clock_discipline() -> Discipline:
    """How the kernel corrects the rate of its clocks at this moment; nothing is changed."""
    found = _Timex()  # its modes are 0: only read
    _check(_libc().adjtimex(ctypes.byref(found)), "adjtimex")
    rate = found.tick / _TICK * (1 + found.frequency / 65536e6)
    return Discipline(rate, not found.status & _STA_UNSYNC)


def _timespec(instant: int) -> _Timespec:
    return _Timespec(*divmod(instant, NANOSECONDS))


def _check(result: int, call: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{call}: {os.strerror(error)}")
    return result


@functools.cache
def _libc() -> ctypes.CDLL:
    # by its name: what LD_PRELOAD puts before it may take our instants for wall time, and libfaketime does
    try:
        return ctypes.CDLL("libc.so.6", use_errno=True)
    except OSError:
        return ctypes.CDLL(None, use_errno=True)  # another libc than glibc


@functools.cache
def _timers() -> ctypes.CDLL:
    if hasattr(_libc(), "timer_create"):
        return _libc()
    return ctypes.CDLL(ctypes.util.find_library("rt"), use_errno=True)  # glibc before 2.34
