"""The files of the pages on systemd and Kubernetes are right to the tools, and the programs of the others run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.docs.pages import programs
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


# -- systemd


def verified(unit: str, folder: Path) -> str:
    """What systemd has against a unit; its programs are made to be there."""
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("not installed: systemd-analyze")
        pytest.skip("not installed: systemd-analyze")
    unit = re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", unit, flags=re.MULTILINE)
    file = folder / "billing.service"
    file.write_text(unit)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, timeout=100, check=False
    )
    said = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if file.name in line)
    return said if said or not done.returncode else done.stdout + done.stderr


@pytest.mark.parametrize("page", ["systemd.md", "stopping-and-exit-codes.md"])
def test_systemd_has_nothing_against_the_unit(page: str, tmp_path: Path) -> None:
    (unit,) = programs(f"docs/how-to/{page}", "ini")
    assert verified(unit, tmp_path) == ""


def test_systemd_would_say_what_is_wrong(tmp_path: Path) -> None:
    (unit,) = programs("docs/how-to/systemd.md", "ini")
    assert "'WatchdogSecs'" in verified(unit.replace("WatchdogSec=", "WatchdogSecs="), tmp_path)


def test_the_unit_hears_the_worker() -> None:
    (unit,) = programs("docs/how-to/systemd.md", "ini")
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    assert settings["Type"] == "notify"
    assert settings["NotifyAccess"] == "all", "whoever speaks is not the process that systemd starts"
    assert float(settings["WatchdogSec"]) > 30, "the keeper comes first: hang_timeout"
    assert settings["RestartPreventExitStatus"].split() == ["2", "78"]


# -- Kubernetes


def manifests() -> list[dict[str, Any]]:
    (text,) = programs("docs/how-to/kubernetes.md", "yaml")
    return list(yaml.safe_load_all(text))


def objections(manifest: dict[str, Any]) -> str:
    import kubernetes_validate

    try:
        kubernetes_validate.validate(manifest, "1.31", strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error.message)
    return ""


@pytest.mark.parametrize("manifest", manifests(), ids=lambda manifest: str(manifest["kind"]))
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_kubernetes_has_nothing_against_the_manifest(manifest: dict[str, Any]) -> None:
    assert objections(manifest) == ""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_kubernetes_would_say_what_is_wrong() -> None:
    deployment = manifests()[0]
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    assert "livenessProb" in objections(deployment)


def test_the_probes_ask_what_the_page_says() -> None:
    spec = manifests()[0]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    probes = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    patience = container["livenessProbe"]["periodSeconds"] * container["livenessProbe"]["failureThreshold"]
    assert patience > 30, "the keeper comes first: hang_timeout"
    assert spec["terminationGracePeriodSeconds"] > 35, "stop_timeout and 5 s"


# -- the programs


def runs(program: str, folder: Path, check: Callable[[str], bool]) -> None:
    """A page's program runs as it stands there, on a free port, and ends in order."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    program = re.sub(r"127\.0\.0\.1:8080", f"127.0.0.1:{port}", program).replace("port=8000", f"port={port}")
    (folder / "billing.py").write_text(program.replace("/run/billing/health", str(folder / "health")))
    with (folder / "out").open("wb") as output:
        process = subprocess.Popen([sys.executable, "billing.py"], cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    try:
        until(lambda: check(f"http://127.0.0.1:{port}"), "the program's answer")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def test_the_program_on_health(tmp_path: Path) -> None:
    (program,) = programs("docs/how-to/health.md")

    def check(url: str) -> bool:
        code, text = get(f"{url}/health")
        return code == 200 and json.loads(text)["ready"] and get(f"{url}/active")[0] == 200

    runs(program, tmp_path, check)


def test_the_application_as_a_service(tmp_path: Path) -> None:
    program = programs("docs/how-to/web-applications.md")[0]
    runs(program, tmp_path, lambda url: get(f"{url}/") == (200, "hello\n"))


def test_the_host_in_the_application(tmp_path: Path) -> None:
    _, inside, nested = programs("docs/how-to/web-applications.md")
    for program in (inside, inside + "\n\n" + nested.replace("app = FastAPI(lifespan=lifespan)", "")):
        serve = "\n\nimport uvicorn\n\nuvicorn.run(app, port=8000, log_level='error')\n"
        if "async def lifespan" in program:
            serve = "\n\napp.router.lifespan_context = lifespan" + serve
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        (tmp_path / "billing.py").write_text((program + serve).replace("port=8000", f"port={port}"))
        process = subprocess.Popen([sys.executable, "billing.py"], cwd=tmp_path)
        try:
            url = f"http://127.0.0.1:{port}/locum"
            until(lambda url=url: get(f"{url}/active") == (200, "active\n"), "the active one")  # type: ignore[misc]
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        finally:
            process.kill()
            process.wait()
