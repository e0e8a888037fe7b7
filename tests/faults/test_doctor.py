"""`locum doctor` says what is so: as root, in namespaces, as an ordinary user, and where something is broken."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import locum
from locum import exit_codes
from locum.cli.examination.finding import Level
from tests.faults.kit.cluster import NEEDS_UNSHARE, PID_NAMESPACE
from tests.faults.kit.waiting import LONG

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.faults.kit.cluster import Cluster

NOBODY: Final = 65534
# an ordinary user, who may read the interpreter wherever it lies, and nothing more
AS_NOBODY: Final = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
FROZEN: Final = "Whoever is frozen or blocked is ended at 85 % of its TTL"
REPLACED: Final = "An instance that dies here is replaced in milliseconds"


@dataclass(frozen=True)
class Said:
    """What the doctor said."""

    code: int
    levels: dict[str, str]
    facts: dict[str, str]
    promises: dict[str, str]
    neighbours: dict[str, dict[str, Any]]


def ask(
    folder: Path,
    *options: str,
    below: Sequence[str] = (),
    first: Callable[[], object] | None = None,
) -> Said:
    """Run the doctor.

    Args:
        folder: Where.
        options: Of the command.
        below: A command under which it runs.
        first: What its process does before it becomes the doctor.
    """
    done = subprocess.run(
        [*below, sys.executable, "-m", "locum", "doctor", "--json", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(locum.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        preexec_fn=first,
    )
    assert "Traceback" not in done.stderr
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert found["exit_code"] == done.returncode
    checks = [one for area in found["areas"] for one in area["findings"]]
    return Said(
        code=done.returncode,
        levels={one["id"]: one["level"] for one in checks},
        facts={one["id"]: one["fact"] for one in checks},
        promises={one["text"]: one["level"] for one in found["promises"]},
        neighbours={one["instance"]: one for one in found["neighbours"]},
    )


def on(cluster: Cluster) -> tuple[str, ...]:
    return ("--store", cluster.url, "--namespace", "faults")


def test_doctor_on_this_machine_with_instances(cluster: Cluster) -> None:
    one = cluster.start()
    cluster.stand()
    said = ask(cluster.folder, *on(cluster))
    assert said.code == exit_codes.CLEAN, said
    assert said.promises[FROZEN] == said.promises[REPLACED] == "holds"
    assert said.neighbours[one.name]["witnessed"]
    assert said.neighbours[one.name]["enforcement"] == "kill"
    assert f"{cluster.ttl:g} s" in said.facts["budget"]
    cluster.judge()


@NEEDS_UNSHARE
def test_doctor_in_a_pid_namespace_those_outside_are_only_observed(cluster: Cluster) -> None:
    outside = cluster.start()
    cluster.stand()
    inside = cluster.start(below=PID_NAMESPACE)
    cluster.stand()
    said = ask(cluster.folder, *on(cluster), below=PID_NAMESPACE)
    assert said.code == exit_codes.CLEAN, said
    assert said.promises[FROZEN] == said.promises[REPLACED] == "holds"
    assert "PID 1" in said.facts["init"]
    assert "pid: of its own" in said.facts["namespaces"]
    for name in (outside.name, inside.name):  # the second lives in a namespace of its own too
        assert not said.neighbours[name]["witnessed"]
        assert "another pid namespace" in said.neighbours[name]["how"]
    cluster.judge()


@NEEDS_UNSHARE
def test_doctor_a_foreign_proc_is_noticed_and_proves_nothing(tmp_path: Path) -> None:
    said = ask(tmp_path, below=("unshare", "--pid", "--fork", "--kill-child"))
    assert said.code == exit_codes.SERVICE_FAILED
    assert said.levels["proc"] == "does not hold"
    assert "another pid namespace" in said.facts["proc"]
    assert said.levels["starts"] == said.levels["hidepid"] == "not known"
    assert said.promises[REPLACED] == "does not hold"
    assert said.promises[FROZEN] == "holds", "the timer does not need /proc"


@NEEDS_UNSHARE
def test_doctor_in_a_time_namespace_the_timer_holds_and_neighbours_are_observed(cluster: Cluster) -> None:
    outside = cluster.start()
    cluster.stand()
    said = ask(cluster.folder, *on(cluster), below=("unshare", "--time", "--boottime", "1000", "--fork"))
    assert said.code == exit_codes.CLEAN, said
    assert said.promises[FROZEN] == "holds"
    assert "boottime by 1000 s" in said.facts["suspend"]
    assert "another time namespace" in said.neighbours[outside.name]["how"]
    cluster.judge()


@NEEDS_UNSHARE
def test_doctor_an_ordinary_user_on_the_machine_and_on_a_store_of_somebody_else(cluster: Cluster) -> None:
    cluster.start()
    cluster.stand()
    said = ask(Path("/"), below=AS_NOBODY)
    assert said.code == exit_codes.CLEAN, said
    assert said.promises[FROZEN] == said.promises[REPLACED] == "holds"
    said = ask(Path("/"), *on(cluster), below=AS_NOBODY)
    assert said.code == exit_codes.STORE_UNAVAILABLE
    assert said.levels["store"] == said.levels["rights"] == "does not hold"
    assert cluster.database.name in said.facts["rights"]
    cluster.judge()


@NEEDS_UNSHARE
def test_doctor_a_store_in_memory_is_told(tmp_path: Path) -> None:
    program = 'mount -t tmpfs tmpfs "$0" && cd "$0" && exec "$@"'
    said = ask(tmp_path, "--app", "held", below=("unshare", "--mount", "sh", "-c", with_app(program), str(tmp_path)))
    assert said.levels["file-system"] == "weaker"
    assert "tmpfs" in said.facts["file-system"]
    assert said.code == exit_codes.CLEAN, "there is no store yet, and one can be made"


def with_app(program: str) -> str:
    text = "from locum import Host; host = Host('held')"
    return program.replace("exec", f'echo "{text}" > held.py && exec')


def test_doctor_without_a_right_to_timers_nothing_frozen_is_ended(tmp_path: Path) -> None:
    said = ask(tmp_path, first=lambda: resource.setrlimit(resource.RLIMIT_SIGPENDING, (0, 0)))
    assert said.code == exit_codes.SERVICE_FAILED
    assert said.levels["stopped"] == said.levels["held"] == said.levels["signals"] == "does not hold"
    assert "timer_create" in said.facts["stopped"]
    assert said.promises[FROZEN] == "does not hold"
    assert said.promises[REPLACED] == "holds"


def test_doctor_a_named_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    said = ask(tmp_path, "--store", "sqlite:///nothing.db", "--namespace", "faults")
    assert said.code == exit_codes.STORE_UNAVAILABLE
    assert said.levels["store"] == Level.NOTE, "none was made yet: nothing is broken"
    assert "there is no store yet" in said.facts["store"]
    assert said.promises[FROZEN] == "holds"
    assert list(tmp_path.iterdir()) == []


def test_doctor_without_a_store_the_machine_alone_is_judged(tmp_path: Path) -> None:
    said = ask(tmp_path)
    assert said.code == exit_codes.CLEAN, said
    assert "store" not in said.levels
    assert list(tmp_path.iterdir()) == []
