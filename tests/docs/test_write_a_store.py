"""The harness of the page on writing a store runs as it stands there, in a stranger's project."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT, programs

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT / "docs/how-to/write-a-store.md"

MANGO = '''
"""A stranger's driver: here the memory store under another name."""

import asyncio

from locum.clock import Clock
from locum.stores.memory import MemoryServer, MemoryStore, Wire

SERVERS = {}


class MangoServer:
    def __init__(self, folder):
        self.address = f"mango-{len(SERVERS)}"
        self.memory = MemoryServer(self.address, clock=Clock())
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        SERVERS[self.address] = self

    @staticmethod
    def is_installed():
        return INSTALLED

    def pause(self):
        self.goes_on.clear()

    def go_on(self):
        self.goes_on.set()

    def forget_everything(self):
        self.memory.wipe()


class MangoWire(Wire):
    def __init__(self, server):
        self.server = server

    async def carry(self, call, request):
        await self.server.goes_on.wait()
        return await super().carry(call, request)


class MangoStore(MemoryStore):
    def __init__(self, address, *, namespace, clock):
        server = SERVERS[address]
        super().__init__(server.memory, namespace=namespace, clock=clock, wire=MangoWire(server))


def make_store(url, *, namespace, clock):
    return MangoStore(MangoServer(None).address, namespace=namespace, clock=clock)
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A stranger's project, installed."""
    shown = programs("docs/how-to/write-a-store.md")
    (harness,) = [program for program in shown if program.startswith('"""test_mango.py"""')]
    (tmp_path / "test_mango.py").write_text(harness)
    (tmp_path / "mango.py").write_text(MANGO + "\nINSTALLED = True\n")
    installed = tmp_path / "mango-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mango\nVersion: 1.0\n")
    (entry_point,) = re.findall(r"^(mango = .*)$", PAGE.read_text(), re.MULTILINE)
    (installed / "entry_points.txt").write_text("[locum.stores]\n" + entry_point.replace('"', "") + "\n")
    return tmp_path


def pytest_in(project: Path, *options: str, ci: str = "") -> tuple[int, str]:
    """Run a stranger's pytest, which knows nothing of our settings."""
    (project / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    path = os.pathsep.join((str(ROOT / "src"), str(project)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *options],
        cwd=project,
        env={**os.environ, "PYTHONPATH": path, "CI": ci},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_harness_of_the_page(project: Path) -> None:
    code, said = pytest_in(project)
    assert code == 0, said
    assert int(re.findall(r"(\d+) passed", said)[0]) > 150
    assert "skipped" not in said


def test_a_contract_that_is_left_out_is_told(project: Path) -> None:
    harness = project / "test_mango.py"
    harness.write_text(harness.read_text().replace("    conformance.ElectionContract,\n", ""))
    code, said = pytest_in(project, "-k", "left_out")
    assert code == 1
    assert "ElectionContract is not kept with MangoHarness" in said


@pytest.mark.parametrize(("ci", "outcome", "code"), [("", "skipped", 0), ("true", "failed", 1)])
def test_a_server_that_is_not_installed_is_told(project: Path, ci: str, outcome: str, code: int) -> None:
    (project / "mango.py").write_text(MANGO + "\nINSTALLED = False\n")
    found, said = pytest_in(project, "-k", "left_out", "-rs", ci=ci)
    assert (found, f"1 {outcome}" in said, "server not installed: mango" in said) == (code, True, True), said
