"""Jobs that write down what they do: many that fire every second, one that overlaps, and some that are asked for."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from locum import Host, Misfire, Overlap, Run, blocking
from locum.clock import Clock

host = Host("faults")
notes = Path(os.environ["FAULTS_ROWS"]).with_name("notes")
leave = Path(os.environ["FAULTS_ROWS"]).with_name("leave")
clock = Clock()
period, length = float(os.environ.get("FAULTS_PERIOD", "1")), float(os.environ.get("FAULTS_LENGTH", "2.4"))


def note(run: Run | blocking.Run, what: str, **more: object) -> None:
    """One line, written at once: what is torn between two processes would be seen."""
    line = {
        "what": what,
        "job": run.name,
        "run": run.id,
        "fire_at": round(run.fire_at.timestamp() * 1_000_000),
        "token": run.token,
        "attempt": run.attempt,
        "part": run.part,
        "instance": run.instance,
        "boot": clock.now(),
        **more,
    }
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(file, (json.dumps(line) + "\n").encode())
    os.close(file)


async def tick(run: Run) -> None:
    note(run, "tick")


for number in range(int(os.environ.get("FAULTS_SCHEDULES", "0"))):
    host.schedule(
        every=1.0, name=f"tick-{number}", misfire=Misfire(policy="all", grace=30.0), overlap="buffer_all", retry=3
    )(tick)


async def overlapping(run: Run) -> None:
    note(run, "began")
    await run.sleep(length)
    note(run, "ended")


if policy := os.environ.get("FAULTS_OVERLAP"):
    host.schedule(
        every=period,
        misfire=Misfire(policy="all", grace=30.0),
        overlap=Overlap(policy=policy, most=int(os.environ["FAULTS_MOST"])),  # type: ignore[arg-type]
    )(overlapping)


@host.job
async def long(run: Run) -> None:
    note(run, "began")
    while not leave.exists():
        await run.sleep(0.02)
    note(run, "ended")


@host.job(executor="process")
def apart(run: blocking.Run) -> None:
    """In a process of its own, which has started another one."""
    child = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    note(run, "began", pids=[os.getpid(), child.pid])
    while not leave.exists():
        run.sleep(0.02)
        run.check()
    note(run, "ended")


@host.job
async def fatal(run: Run) -> None:
    note(run, "began")
    os.kill(os.getpid(), 9)
