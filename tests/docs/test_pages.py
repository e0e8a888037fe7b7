"""The pages hang together: each is in the site's order, each link leads somewhere, and each command is there."""

from __future__ import annotations

import re
import shlex
from itertools import chain
from typing import TYPE_CHECKING

import click
import pytest

from locum.cli.main import _COMMANDS, _locum
from tests.docs.pages import ROOT, programs

if TYPE_CHECKING:
    from pathlib import Path

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "ROADMAP.md")]


def test_every_page_is_in_the_order_of_the_site_once() -> None:
    order = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    named = re.findall(r"[\w./-]+\.md$", order, re.MULTILINE)
    assert sorted(named) == [str(page.relative_to(DOCS)) for page in PAGES]


def test_every_page_with_a_program_has_a_test_that_runs_it() -> None:
    tests = [*(ROOT / "tests/docs").glob("test_*.py"), ROOT / "tests/faults/test_django.py"]
    named = "".join(test.read_text() for test in tests)
    told = [page for page in [*PAGES, *TOP] if programs(str(page.relative_to(ROOT)))]
    assert len(told) > 25
    assert [page.name for page in told if f'{page.name}"' not in named] == []


@pytest.mark.parametrize("page", [*PAGES, *TOP], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", _prose(page))
    lost = [target for target in targets if ":" not in target and not _leads_somewhere(page, target)]
    assert not lost


@pytest.mark.parametrize("page", [*PAGES, *TOP], ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_place_of_ours(page: Path) -> None:
    found = re.findall(r"/work/\S*|/root/\S*|\.\./shared\S*", page.read_text())
    assert not found


def test_every_command_with_its_options_is_on_the_page() -> None:
    text = (DOCS / "reference/commands.md").read_text()
    context = click.Context(_locum)
    for name in _COMMANDS:
        command = _locum.get_command(context, name)
        assert command is not None
        parts = command.commands.items() if isinstance(command, click.Group) else [("", command)]
        for part, one in parts:
            assert f"`locum {' '.join(filter(None, (name, part)))}" in text
            for option in chain.from_iterable(parameter.opts for parameter in one.params):
                assert not option.startswith("--") or f"{option}" in text, f"{name}: {option}"


def command_lines() -> list[tuple[str, str]]:
    """Every line of a page's blocks in which our command is called: the page, and what follows `locum`."""
    called = re.compile(r"(?:\$ )?(?:ExecStart=)?(?:[A-Z_]+=\S+ )*(?:\S*/)?locum ([a-z].*)")
    return [
        (str(page.relative_to(ROOT)), found[1])
        for page in [*PAGES, *TOP]
        for block in re.findall(r"^```[^\n]*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
        if (found := called.match(line.strip())) is not None
    ]


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_every_command_line_of_a_page_is_understood(page: str, line: str) -> None:
    """It is taken apart, and not carried out."""
    name, *arguments = shlex.split(line, comments=True)
    command: click.Command | None = _locum
    context = click.Context(_locum, info_name="locum")
    while isinstance(command, click.Group):
        command = command.get_command(context, name)
        if isinstance(command, click.Group):
            context = click.Context(command, parent=context, info_name=name)
            name, *arguments = arguments
    assert command is not None, f"{page} calls locum {name}"
    command.make_context(name, arguments, parent=context)


def test_the_pages_call_commands_at_all() -> None:
    assert len(command_lines()) > 25


def _prose(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def _leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.exists():
        return False
    return not anchor or anchor in map(_anchor, re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE))


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\s-]", "", title.lower()).strip().replace(" ", "-")
