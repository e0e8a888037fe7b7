"""What the checks of the machine make of what they find, good and bad."""

from __future__ import annotations

import pytest

from locum.cli.examination import clocks, kernel, limits, surroundings
from locum.cli.examination.finding import Level, Said, check, worst
from locum.cli.examination.mounts import Mount
from locum.clock import Clock, Readings, nanoseconds
from locum.keeper.kernel import Discipline

RIGHT = Discipline(1.0, is_synchronised=True)
START = Readings(boot=nanoseconds(100), monotonic=nanoseconds(90), raw=nanoseconds(95), wall=nanoseconds(1e9))


def later(*, boot: float = 1.0, raw: float = 1.0, wall: float = 1.0) -> Readings:
    return Readings(
        START.boot + nanoseconds(boot),
        START.monotonic + nanoseconds(boot),
        START.raw + nanoseconds(raw),
        START.wall + nanoseconds(wall),
    )


def test_a_check_that_fails_itself_says_so_and_harms_no_other() -> None:
    @check("odd", "Something odd")
    def odd() -> Said:
        raise FileNotFoundError(2, "No such file", "/proc/odd")

    found = odd()
    assert (found.id, found.what, found.level) == ("odd", "Something odd", Level.UNKNOWN)
    assert "/proc/odd" in found.fact


def test_what_is_not_known_is_worse_than_what_is_weaker() -> None:
    assert worst(Level.HOLDS, Level.UNKNOWN, Level.WEAKER) is Level.UNKNOWN
    assert worst(Level.UNKNOWN, Level.FAILS) is Level.FAILS


@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        (("Linux", "5.4.0-42-generic", (3, 11, 0), "x86_64", True), Level.HOLDS),
        (("Linux", "6.18.44-fc", (3, 14, 0), "aarch64", True), Level.HOLDS),
        (("Linux", "5.3.18", (3, 11, 0), "x86_64", True), Level.FAILS),
        (("Linux", "6.1", (3, 10, 9), "x86_64", True), Level.FAILS),
        (("Linux", "6.1", (3, 12, 0), "armv7l", False), Level.FAILS),
        (("Darwin", "23.1", (3, 12, 0), "arm64", True), Level.FAILS),
        (("Linux", "strange", (3, 12, 0), "x86_64", True), Level.UNKNOWN),
    ],
)
def test_platforms(arguments: tuple[str, str, tuple[int, ...], str, bool], level: Level) -> None:
    assert kernel.judge(*arguments).level is level


@pytest.mark.parametrize(
    ("after", "discipline", "level"),
    [
        (later(), RIGHT, Level.HOLDS),
        (later(boot=1.0005, wall=1.0005), Discipline(1.0005, is_synchronised=True), Level.HOLDS),
        (later(boot=1.05, wall=1.05), Discipline(1.05, is_synchronised=False), Level.WEAKER),
        (later(boot=1.09, wall=1.09), RIGHT, Level.FAILS),
        (later(boot=0.9, wall=0.9), RIGHT, Level.FAILS),
        (later(), Discipline(0.9, is_synchronised=True), Level.FAILS),
        (later(wall=3601.0), RIGHT, Level.HOLDS),
    ],
)
def test_rates(after: Readings, discipline: Discipline, level: Level) -> None:
    said = clocks.rate(START, after, discipline)
    assert said.level is level
    assert ("stepped" in said.fact) == (after.wall - START.wall > nanoseconds(10))


def test_a_rate_is_measured_over_a_second() -> None:
    before, after = clocks.Rates(Clock()).ends()
    assert after.raw - before.raw >= nanoseconds(0.9)
    assert clocks.rate(before, after, RIGHT).level is Level.HOLDS


@pytest.mark.parametrize("name", ["jiffies", "hpet", "acpi_pm"])
def test_a_poor_clock_source_is_named(name: str) -> None:
    said = clocks.source(name, [name], {"constant_tsc"})
    assert said.level is Level.WEAKER
    assert "given up the tsc" in said.fact
    assert "given up" not in clocks.source(name, [name, "tsc"], {"constant_tsc"}).fact


@pytest.mark.parametrize("name", ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"])
def test_a_good_clock_source_is_not(name: str) -> None:
    assert clocks.source(name, [name], set()).level is Level.HOLDS


def test_suspended_time_is_told_from_the_shift_of_a_time_namespace() -> None:
    assert "10 s since boot" in clocks.suspended(START, {}).fact
    shifted = clocks.suspended(START, {"monotonic": 0, "boottime": 10}).fact
    assert "none since boot" in shifted
    assert "boottime by 10 s" in shifted


@pytest.mark.parametrize(
    ("used", "limit", "level"),
    [(0, None, Level.HOLDS), (3, 96000, Level.HOLDS), (990, 1000, Level.WEAKER), (5, 0, Level.FAILS)],
)
def test_queued_signals(used: int, limit: int | None, level: Level) -> None:
    assert limits.signals(used, limit).level is level


@pytest.mark.parametrize(
    ("limit", "level"), [(None, Level.HOLDS), (1024, Level.HOLDS), (128, Level.WEAKER), (32, Level.FAILS)]
)
def test_open_files(limit: int | None, level: Level) -> None:
    assert limits.files(limit).level is level


def test_file_watches() -> None:
    assert limits.inotify(128, 8192).level is Level.HOLDS
    assert limits.inotify(0, 8192).level is Level.WEAKER


def proc(*options: str) -> list[Mount]:
    return [Mount("/proc", "proc", "proc"), Mount("/proc", "proc", "proc", options)]


def test_hidden_processes_are_noticed() -> None:
    assert surroundings.hidden(proc("rw"), sees_strangers=False).level is Level.HOLDS
    assert surroundings.hidden(proc("rw", "hidepid=invisible"), sees_strangers=False).level is Level.WEAKER
    assert surroundings.hidden(proc("rw", "hidepid=2"), sees_strangers=True).level is Level.HOLDS
    assert surroundings.hidden([], sees_strangers=True).level is Level.UNKNOWN


def test_freezers_and_cgroups_are_told() -> None:
    first = Mount("/f", "cgroup", "cgroup", ("rw", "freezer"), ("rw", "freezer"))
    second = Mount("/nowhere", "cgroup2", "cgroup2")
    assert "v1 freezer" in surroundings.cgroups("6:freezer:/\n0::/\n", [first, second]).fact
    said = surroundings.cgroups("0::/a/b\n", [second])
    assert said.fact.startswith("v2; own v2 group not writable")
    assert "v1 freezer" not in said.fact
    assert surroundings.cgroups("", []).fact.startswith("none is mounted")
