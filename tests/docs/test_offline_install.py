"""The page on installing without the internet, walked through with a folder of wheels in the registry's place.

The wheels of what Locum needs are packed again from what is installed here: they are what a registry gave out.
"""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.docs.pages import ROOT
from tests.docs.terminal import Terminal, shown

PAGE = "docs/how-to/offline-install.md"


@pytest.mark.timeout(300)
def test_the_page_on_installing_offline(tmp_path: Path) -> None:
    registry, built = tmp_path / "registry", tmp_path / "dist"
    registry.mkdir()
    command: list[str | Path] = [Path(sys.executable).with_name("hatchling"), "build", "-t", "wheel", "-d", built]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = built.iterdir()
    (registry / wheel.name).write_bytes(wheel.read_bytes())
    for name in needed("locum", "sqlalchemy"):
        pack(name, registry)

    folder, download, again, make, install, doctor = (one.command for one in shown(PAGE))
    inline = re.findall(r"`(pip download [^`]+)`", (ROOT / PAGE).read_text())
    path = f"{ROOT / '.tools/bin'}:{Path(sys.executable).parent}:/usr/bin:/bin"
    with Terminal(tmp_path, PATH=path, PIP_CONFIG_FILE="/dev/null", HOME=str(tmp_path)) as terminal:
        there = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(registry)}
        terminal.run(folder)
        terminal.run(download, variables=there)
        assert {one.name for one in (tmp_path / "wheels").iterdir()} == {one.name for one in registry.iterdir()}
        terminal.run(again, variables=there)
        click = next(registry.glob("click-*.whl"))
        digest = hashlib.sha256(click.read_bytes()).hexdigest()
        (tmp_path / "requirements.lock").write_text(f"click=={click.name.split('-')[1]} --hash=sha256:{digest}\n")
        elsewhere, pinned = inline
        terminal.run(f"{elsewhere.replace('...', 'rich')} --dest elsewhere", variables=there)
        # what is built for this Python is not for the other one
        assert "No matching" in terminal.run(
            f"{elsewhere.replace('...', 'greenlet')} --dest elsewhere", code=1, variables=there
        )
        terminal.run(f"{pinned} --dest pinned", variables=there)
        (tmp_path / "requirements.lock").write_text(f"click=={click.name.split('-')[1]} --hash=sha256:{digest[::-1]}\n")
        assert "DO NOT MATCH" in terminal.run(f"{pinned} --dest another", code=1, variables=there)

        registry.rename(tmp_path / "far away")  # from here on there is no network
        terminal.run(make.replace("/opt", str(tmp_path)))
        install, doctor = (line.replace("/opt", str(tmp_path)) for line in (install, doctor))
        kept = next((tmp_path / "wheels").glob("click-*.whl")).rename(tmp_path / click.name)
        assert "No matching distribution found for click" in terminal.run(install, code=1)
        kept.rename(tmp_path / "wheels" / click.name)
        terminal.run(install)
        said = terminal.run(f"cd / && {doctor} || [ $? -eq 1 ]")
        assert "Timers" in said
        templates = {one.stem for one in (tmp_path / "billing").rglob("locum/cli/project/*.txt")}
        assert templates >= {"app.py", "pyproject.toml", "test_app.py"}
        assert list((tmp_path / "billing").rglob("locum/stores/sql/postgresql.json")), "what is no Python goes along"


def needed(name: str, *extras: str) -> set[str]:
    """The distributions that an installation brings along, by what they say themselves."""
    found: set[str] = set()
    for text in metadata.requires(name) or []:
        requirement = Requirement(text)
        marker = requirement.marker
        is_asked_for = marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
        if is_asked_for and requirement.name not in found:
            found |= {requirement.name} | needed(requirement.name, *requirement.extras)
    return found


def pack(name: str, folder: Path) -> None:
    """Make the wheel again from which a distribution was installed."""
    found = metadata.distribution(name)
    about = found.read_text("WHEEL") or ""
    tags = [line.split("-") for line in re.findall(r"^Tag: (\S+)$", about, re.MULTILINE)]
    tag = "-".join(".".join(sorted(set(part))) for part in zip(*tags, strict=True))
    parts = [file for file in found.files or [] if file.parts[0] != ".." and file.suffix != ".pyc"]
    home = next(file.parts[0] for file in parts if file.name == "WHEEL")
    record = []
    with zipfile.ZipFile(folder / f"{home.removesuffix('.dist-info')}-{tag}.whl", "w") as wheel:
        for file in parts:
            if file.parts[0] == home and file.name in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):
                continue
            content = file.read_binary()
            wheel.writestr(str(file), content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{file},sha256={digest},{len(content)}")
        wheel.writestr(f"{home}/RECORD", "\n".join([*record, f"{home}/RECORD,,", ""]))
