"""Where we are: what /proc shows, in which namespaces and under which PID 1 we run, and what cgroups there are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from locum.cli.examination.finding import Finding, Level, Said, check
from locum.cli.examination.mounts import Mount, mounts
from locum.identity import sees_own_processes, start_time, stat_fields

__all__ = ["cgroups", "findings", "hidden", "in_container"]

# the kernel gives these numbers to the namespaces that it starts with (include/linux/proc_ns.h)
_INITIAL: Final = {"pid": 0xEFFFFFFC, "time": 0xEFFFFFFA, "user": 0xEFFFFFFD}
_HIDING: Final = {"hidepid=1", "hidepid=2", "hidepid=4", "hidepid=noaccess", "hidepid=invisible", "hidepid=ptraceable"}

_BLIND: Final = Said(Level.UNKNOWN, "cannot be told: /proc shows another pid namespace")


def findings() -> list[Finding]:
    """What surrounds this process."""
    return [_own(), _starts(), _others(), _first(), _namespaces(), _cgroups()]


@check("proc", "/proc")
def _own() -> Said:
    if sees_own_processes():
        return Said(Level.HOLDS, "shows the processes of our own pid namespace")
    return Said(
        Level.FAILS,
        "shows another pid namespace than ours (or cannot be read): `locum run` refuses to start here",
        "mount /proc in this namespace (unshare --mount-proc), then look again",
    )


@check("starts", "Start times")
def _starts() -> Said:
    if not sees_own_processes():
        return _BLIND
    if start_time(os.getpid()) is not None:
        return Said(Level.HOLDS, "are readable: a process is told from a later one of the same pid")
    return Said(
        Level.FAILS,
        "/proc does not tell the start of this process: no death can be proven",
        "mount /proc in this pid namespace",
    )


@check("hidepid", "Processes of others")
def _others() -> Said:
    if not sees_own_processes():
        return _BLIND
    return hidden(mounts(), sees_strangers=_sees_strangers())


def hidden(table: list[Mount], *, sees_strangers: bool) -> Said:
    """Whether /proc hides the processes of other users from this one.

    Args:
        table: The mounts.
        sees_strangers: Whether a process of another user is seen all the same.
    """
    proc = next((mount for mount in reversed(table) if mount.point == "/proc"), None)
    if proc is None:
        return Said(Level.UNKNOWN, "/proc is no mount of its own, so nothing says whether it hides processes")
    hiding = sorted(_HIDING & set(proc.options))
    if not hiding:
        return Said(Level.HOLDS, "are visible: instances of all users can witness each other")
    if sees_strangers:
        return Said(Level.HOLDS, f"are hidden ({hiding[0]}), but not from this user")
    return Said(
        Level.WEAKER,
        f"are hidden ({hiding[0]}): instances of another user cannot be witnessed, nor what they leave behind seen",
        "run all instances of a store under one user",
    )


def _sees_strangers() -> bool:
    own = os.geteuid()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid != own:
                return stat_fields(entry.name) is not None
        except FileNotFoundError:
            continue  # it has ended meanwhile
    return own == 0  # root has none to hide, and they hide nothing from it


@check("init", "PID 1 and container")
def _first() -> Said:
    fact = "not PID 1"
    if os.getpid() == 1:
        fact = "PID 1: `locum run` would put its guardian there, and its keeper below"
    return Said(Level.NOTE, f"{fact}; {in_container() or 'no container that one could tell'}")


def in_container() -> str:
    """The kind of container that we run in, in words; empty if none can be told."""
    if Path("/.dockerenv").exists():
        return "it looks like a container (docker)"
    if Path("/run/.containerenv").exists():
        return "it looks like a container (podman)"
    if kind := os.environ.get("container"):  # noqa: SIM112 - systemd, podman and lxc write it so
        return f"it looks like a container ({kind})"
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "it looks like a container (kubernetes)"
    return ""


@check("namespaces", "Namespaces")
def _namespaces() -> Said:
    said = {kind: _namespace(kind) for kind in _INITIAL}
    fact = ", ".join(f"{kind}: {words}" for kind, words in said.items())
    if said["pid"] == "of its own" or said["time"] == "of its own":
        fact += "; instances outside observe those in here (one TTL) instead of witnessing them"
    return Said(Level.NOTE, fact)


def _namespace(kind: str) -> str:
    try:
        number = Path(f"/proc/self/ns/{kind}").stat().st_ino
    except FileNotFoundError:
        return "one for all (the kernel has no others)"
    except OSError:
        return "not known"
    return "the machine's" if number == _INITIAL[kind] else "of its own"


@check("cgroup", "cgroups")
def _cgroups() -> Said:
    return cgroups(Path("/proc/self/cgroup").read_text(), mounts())


def cgroups(own: str, table: list[Mount]) -> Said:
    """What freezers there are, and whether we may make a cgroup of our own.

    Args:
        own: /proc/self/cgroup.
        table: The mounts.
    """
    paths = {line.split(":", 2)[1]: line.strip().split(":", 2)[2] for line in own.splitlines() if line.count(":") > 1}
    second = next((mount for mount in table if mount.kind == "cgroup2"), None)
    freezer = next((mount for mount in table if mount.kind == "cgroup" and "freezer" in mount.super_options), None)
    first = any(mount.kind == "cgroup" for mount in table)
    said = {(True, True): "v1 and v2", (True, False): "v1", (False, True): "v2", (False, False): "none is mounted"}
    facts = [said[first, second is not None]]
    if second is not None:
        folder = Path(second.point + paths.get("", "/"))
        facts.append(f"own v2 group {'writable' if os.access(folder, os.W_OK) else 'not writable'}")
    facts.append("not used by this release: detached grandchildren are ended by keeper and guardian")
    if freezer is not None:
        facts.append(
            "frozen by a v1 freezer, even a killed process stays until the thaw, and a worker may then outlive its"
            " keeper by a millisecond or two"
        )
        return Said(Level.NOTE, "; ".join(facts), "guard writes with the token where somebody freezes by v1 cgroups")
    return Said(Level.NOTE, "; ".join(facts))
