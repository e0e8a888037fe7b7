"""The clocks that leases are counted on: where they come from, and how fast they go (R29)."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from locum.cli.examination.finding import Finding, Level, Said, check
from locum.cli.words import age
from locum.clock import nanoseconds, seconds
from locum.keeper import kernel

if TYPE_CHECKING:
    from locum.clock import Clock, Readings
    from locum.keeper.kernel import Discipline

__all__ = ["ALLOWED", "Rates", "findings", "rate", "source", "suspended"]

ALLOWED: Final = 0.08
"""By how much two machines' clocks may differ in rate: what the 85 % rule leaves (R29)."""

_SPAN: Final = 1.0  # seconds
_SLOW: Final = ("jiffies", "refined-jiffies", "hpet", "acpi_pm", "pit")
_SOURCES: Final = Path("/sys/devices/system/clocksource/clocksource0")


class Rates:
    """Reads all clocks now, and again when asked for the rates.

    Args:
        clock: The clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self._before = clock, clock.readings()

    def ends(self) -> tuple[Readings, Readings]:
        """The readings of both ends, a second apart at least."""
        left = nanoseconds(_SPAN) - (self._clock.readings().monotonic - self._before.monotonic)
        time.sleep(max(0.0, min(seconds(left), _SPAN)))
        return self._before, self._clock.readings()


def findings(rates: Rates) -> list[Finding]:
    """The clocks; waits until a second has passed since `rates` was made."""
    ends = rates.ends()
    return [_source(), _rate(ends), _suspended(ends[1]), _machine()]


@check("clocksource", "Clock source")
def _source() -> Said:
    current = (_SOURCES / "current_clocksource").read_text().strip()
    available = (_SOURCES / "available_clocksource").read_text().split()
    return source(current, available, _processor())


def source(current: str, available: list[str], flags: set[str]) -> Said:
    """How good the hardware clock is that the kernel reads.

    Args:
        current: Its name.
        available: Those that there are.
        flags: What the processor says of itself.
    """
    if current in _SLOW:
        lost = "constant_tsc" in flags and "tsc" not in available
        why = " (the kernel has given up the tsc as unstable: see dmesg)" if lost else ""
        return Said(
            Level.WEAKER,
            f"{current}, which is coarse or slow to read{why}",
            "compare the rate below, and watch it: it may drift under load",
        )
    return Said(Level.HOLDS, current)


@check("rate", "Clock rate")
def _rate(ends: tuple[Readings, Readings]) -> Said:
    return rate(*ends, kernel.clock_discipline())


def rate(before: Readings, after: Readings, discipline: Discipline) -> Said:
    """How fast the clock of the leases goes, by the other clocks of this machine.

    What all of them share, a hardware clock that is wrong itself, only another machine's clock can tell.
    """
    boot, raw = after.boot - before.boot, after.raw - before.raw
    wall = after.wall - before.wall
    off = boot / raw - 1
    corrected = discipline.rate - 1
    said = f"{_percent(off)} from the hardware's over {seconds(raw):.1f} s, corrected by {_percent(corrected)}"
    said += ", synchronised (NTP)" if discipline.is_synchronised else ", not synchronised by NTP"
    largest = max(abs(off), abs(corrected))
    if largest > ALLOWED:
        advice = "reset the correction (adjtimex --tick 10000 --frequency 0), then find out who set it"
        return Said(Level.FAILS, f"{said}: more than the {ALLOWED * 100:.0f} % that leases allow for", advice)
    if abs(wall - boot) > nanoseconds(0.01) and abs(wall - boot) > raw * 0.01:
        said += f"; the wall clock stepped by {seconds(wall - boot):+.3f} s meanwhile, which no lease minds"
    if largest > ALLOWED / 4:
        return Said(Level.WEAKER, f"{said}: a good part of the {ALLOWED * 100:.0f} % that leases allow for")
    return Said(Level.HOLDS, f"{said}; {ALLOWED * 100:.0f} % is allowed for")


@check("suspend", "Suspended time")
def _suspended(now: Readings) -> Said:
    return suspended(now, _offsets())


def suspended(now: Readings, offsets: dict[str, int]) -> Said:
    """What `CLOCK_BOOTTIME` counts and `CLOCK_MONOTONIC` does not.

    Args:
        now: The clocks.
        offsets: By how many seconds the time namespace has shifted them.
    """
    shift = offsets.get("boottime", 0) - offsets.get("monotonic", 0)
    slept = seconds(now.boot - now.monotonic) - shift
    words = f"{age(slept)} since boot, all counted by leases" if slept >= 0.05 else "none since boot"
    if any(offsets.values()):
        shifted = ", ".join(f"{name} by {value} s" for name, value in offsets.items() if value)
        words += f"; the time namespace shifts {shifted}"
    return Said(Level.NOTE, words)


@check("virtual", "Virtual machine")
def _machine() -> Said:
    virtual = "hypervisor" in _processor() or Path("/sys/hypervisor/type").exists()
    virtual = virtual or Path("/proc/device-tree/hypervisor").exists()
    if not virtual:
        return Said(Level.NOTE, "none that one could tell")
    return Said(
        Level.NOTE,
        "yes: while the host pauses it, its clocks may stand still, and no timer of its own can fire",
        "guard writes with the token (term.transaction, term.fence): that holds even then",
    )


def _processor() -> set[str]:
    if platform.machine() not in ("x86_64", "AMD64", "i686"):
        return set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split())
    return set()


def _offsets() -> dict[str, int]:
    try:
        lines = Path("/proc/self/timens_offsets").read_text().splitlines()
    except OSError:
        return {}  # a kernel without time namespaces
    return {name: int(whole) for name, whole, _ in (line.split() for line in lines)}


def _percent(part: float) -> str:
    return f"{part * 100:+.3f} %" if abs(part) >= 5e-6 else "0 %"
