"""The terminals of the how-to pages: each command is given as it stands there, and says what is shown."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import socketserver
import sqlite3
import tomllib
from contextlib import ExitStack, closing
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from locum import exit_codes
from locum.cli.examination.finding import Level
from tests.docs.pages import ROOT, programs
from tests.docs.terminal import Shown, Terminal, is_shown, shown
from tests.faults.kit.waiting import until
from tests.servers import redis

if TYPE_CHECKING:
    from pathlib import Path

BILLING = """
from locum import Host, Term

host = Host("billing", store="sqlite:///billing.db", health_file="run/health")


@host.active_passive
async def settlement(term: Term) -> None:
    await term.sleep(3600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the service of the pages, and the settings that name it, as reference/commands.md shows them."""
    (tmp_path / "billing.py").write_text(BILLING)
    (tmp_path / "run").mkdir()
    (settings,) = programs("docs/reference/commands.md", "toml")
    (tmp_path / "pyproject.toml").write_text(settings)
    return tmp_path


def commands(page: str, language: str = "console") -> list[str]:
    return [one.command for one in shown(f"docs/how-to/{page}", language)]


def test_the_page_on_the_doctor(folder: Path) -> None:
    first, named, stored, alone, as_json = commands("doctor.md")
    with Terminal(folder) as terminal:
        terminal.begin("locum run --name web-1")
        until(terminal.says("is active in settlement"), "an active one")
        stored = stored.replace("sqlite:////var/lib/billing.db", f"sqlite:///{folder}/billing.db")
        alone = alone.replace("postgresql://db/billing", f"sqlite:///{folder}/billing.db")
        # what this machine can do decides between 0 and 1, and the page says so
        said = [terminal.run(f"{line} || [ $? -eq 1 ]") for line in (first, named, stored, alone)]
        found = json.loads(terminal.run(f"{as_json} || [ $? -eq 1 ]"))
    for one in said:
        assert "web-1" in one, "it looks at every instance"
        assert re.search(r"\bholds\b", one)
    levels = {one["level"] for area in found["areas"] for one in area["findings"]}
    assert levels <= {str(level) for level in Level}


def test_the_page_on_the_doctor_names_each_level_and_nothing_else() -> None:
    text = (ROOT / "docs/how-to/doctor.md").read_text()
    table = text.partition("## How to read it")[2].partition("The last table")[0]
    named = re.findall(r"^\| ([^|\s][^|]*?) +\|", table.partition("--- |\n")[2], re.MULTILINE)
    assert sorted(named) == sorted(str(level) for level in Level)


def test_the_page_on_restoring_a_store(folder: Path) -> None:
    lost, active = _sentences(programs("docs/how-to/restore-a-store.md", "text")[0])
    (reset,) = shown("docs/how-to/restore-a-store.md")
    with Terminal(folder) as terminal:
        terminal.begin("locum run --name web-1")
        until(terminal.says("web-1 is active in settlement (token 1)"), "an active one")
        with (
            closing(sqlite3.connect(folder / "billing.db")) as source,
            closing(sqlite3.connect(folder / "copy")) as copy,
        ):
            source.backup(copy)
        terminal.begin("locum run --name web-2")
        terminal.until_in_line("billing:host", "settlement", 1)
        terminal.run("locum resign settlement")
        until(terminal.says("is active in settlement (token 2)"), "the second token")
        (folder / "copy").replace(folder / "billing.db")
        terminal.until_shown(lost, "web-[12]")
        until(lambda: "quarantine" in terminal.run("locum status"), "the quarantine")
        terminal.until_shown(active.replace("token 4", "token 3"), "web-[12]")
        terminal.stop()
        said = terminal.run(reset.command, says="y\n").replace("[y/N]: ", "[y/N]: y\n")
        assert [is_shown(*both) for both in zip(reset.says, said.splitlines(), strict=True)] == [True, True]
        url = f"sqlite:///{folder}/billing.db"
        terminal.run(f"locum store reset --yes --above 41 --store {url} --namespace billing")
        terminal.begin("locum run --name web-3")
        until(terminal.says("web-3 is active in settlement (token 42)"), "a token above what is known")


def test_the_page_on_running_a_command(folder: Path) -> None:
    nightly, forever = commands("run-a-command.md", "text")
    (folder / "backup.sh").write_text('#!/bin/sh\necho "backup under token $LOCUM_TOKEN"\n')
    (folder / "settle-forever").write_text('#!/bin/sh\necho "settles under token $LOCUM_TOKEN"\nexec sleep 3600\n')
    for name in ("backup.sh", "settle-forever"):
        (folder / name).chmod(0o755)
    nightly = nightly.replace("postgresql://db/app", f"sqlite:///{folder}/app.db")
    with Terminal(folder) as terminal:
        assert [terminal.run(nightly) for _ in range(2)] == ["backup under token 1\n", "backup under token 2\n"]
        terminal.begin(forever)
        until(terminal.says("settles under token 1"), "the command")
        terminal.run(forever.replace("--active", "--active --wait 0"), code=exit_codes.SERVICE_FAILED)
        terminal.begin(forever)
        terminal.until_in_line("billing:host", "settlement", 1)
        terminal.run("locum resign settlement")
        until(terminal.says("settles under token 2"), "the other one's command")
        assert terminal.stop() == [143, 143]


def test_the_page_on_transfers(folder: Path) -> None:
    resign, transfer = shown("docs/how-to/transfer-and-resign.md")
    with Terminal(folder) as terminal:
        for number in (1, 2, 3):
            terminal.begin(f"locum run --name web-{number}")
            until(terminal.says("is active in settlement (token 1)"), "an active one")
            terminal.until_in_line("billing:host", "settlement", number - 1)
        for one, token in ((resign, 2), (transfer, 3)):
            (line,) = one.says
            said = terminal.run(one.command)
            assert is_shown(re.sub("token [78]", f"token {token}", line), said), said


def test_the_page_on_health(folder: Path) -> None:
    live, ready = shown("docs/how-to/health.md")
    (test,) = programs("docs/how-to/health.md", "sh")
    (folder / "billing.py").write_text(BILLING.replace("settlement", "settle"))
    with Terminal(folder) as terminal:

        def as_shown(one: Shown, code: int) -> bool:
            said = terminal.run(f"{one.command.replace('/run/billing', 'run')}; [ $? -eq {code} ]")
            lines = said.splitlines()
            return len(lines) == len(one.says) and all(map(is_shown, one.says, lines))

        terminal.begin("locum run --name web-1")
        until((folder / "run/health").exists, "the file")
        until(lambda: as_shown(live, 0), "the first answer")
        terminal.run(test.replace("/run/billing", "run"))
        terminal.stop()
        terminal.run(f"sh -c '{test.replace('/run/billing', 'run').strip()}'; [ $? -ne 0 ]")
        # nothing listens there
        terminal.variables |= {"LOCUM_STORE": "redis://127.0.0.1:1/"}
        terminal.begin("locum run --name web-1")
        until((folder / "run/health").exists, "the file")
        until(lambda: as_shown(ready, 1), "the second answer")
        assert terminal.run("locum health --file run/health") == "web-1 is live.\n"


class _Speaker(socketserver.BaseRequestHandler):
    """Says which machine it stands for, and holds the connection."""

    def handle(self) -> None:
        self.request.sendall(self.request.getsockname()[0].encode())
        self.request.recv(1)


def test_the_load_balancer_of_the_page_follows_the_active_one(folder: Path) -> None:
    """Two machines are two addresses of this one."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("not installed: haproxy")
        pytest.skip("not installed: haproxy")
    addresses = ("127.0.0.1", "127.0.0.2")
    (backend,) = programs("docs/how-to/health.md", "text")
    (folder / "billing.py").write_text(BILLING.replace("settlement", "settle"))
    with ExitStack() as stack:
        front, probe, work = (
            stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in "123"
        )
    backend = backend.replace("10.0.0.", "127.0.0.").replace(":9000", f":{work}").replace("8080", str(probe))
    times = "    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n"
    ahead = (
        f"defaults\n    mode tcp\n{times}\nfrontend front\n    bind 127.0.0.1:{front}\n    default_backend billing\n\n"
    )
    (folder / "haproxy.cfg").write_text(ahead + backend)

    def reached() -> tuple[socket.socket, str] | None:
        try:
            connection = socket.create_connection(("127.0.0.1", front), timeout=10)
        except OSError:
            return None
        said = connection.recv(100).decode()
        if said:
            return connection, said
        connection.close()
        return None

    with ExitStack() as stack:
        for address in addresses:
            server = stack.enter_context(socketserver.ThreadingTCPServer((address, work), _Speaker))
            server.daemon_threads = True
            Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
        terminal = stack.enter_context(Terminal(folder))
        for number, address in enumerate(addresses, 1):
            terminal.variables["LOCUM_HEALTH"] = f"{address}:{probe}"
            terminal.begin(f"locum run --name web-{number}")
            until(terminal.says("web-1 is active in settle"), "an active one")
        terminal.until_in_line("billing:host", "settle", 1)
        terminal.run(f"{program} -c -f haproxy.cfg")
        terminal.begin(f"{program} -db -f haproxy.cfg")
        connection, said = until(reached, "an answer")
        assert said == addresses[0]
        terminal.run("locum resign settle")
        with connection:
            assert connection.recv(1) == b"", "what goes to one that is not active any more is closed"

        def moved() -> bool:
            found = reached()
            if found is not None:
                found[0].close()
            return found is not None and found[1] == addresses[1]

        until(moved, "the other one")


def test_the_page_on_settings_shows_each_with_its_origin(folder: Path) -> None:
    (folder / "billing.py").write_text(programs("docs/how-to/settings.md")[0])
    (folder / "billing.toml").write_text(programs("docs/how-to/settings.md", "toml")[0])
    config = next(one for one in shown("docs/how-to/settings.md") if one.command == "locum config billing")
    with Terminal(folder) as terminal:
        said = terminal.run(config.command, variables={"BILLING_API_KEY": "very-secret"}).splitlines()
    for line in config.says:
        assert any(is_shown(line, one) for one in said), line


def test_the_commands_on_nodes(folder: Path) -> None:
    page = commands("nodes.md", "text")
    ls, get, write, rm, watch = page
    with Terminal(folder) as terminal:
        terminal.begin("locum run --name web-1")
        until(terminal.says("is active in settlement"), "the store to be there")
        terminal.run(write.partition(" --version")[0].replace(" 20", " 10"))
        version = terminal.run(ls).split()[0]
        watching = terminal.begin(watch)
        until(terminal.says("\t10"), "the watch")
        terminal.run(write, code=exit_codes.SERVICE_FAILED)
        terminal.run(write.replace("17", version))
        assert terminal.run(get) == "20"
        until(terminal.says("\t20"), "the watch, again")
        terminal.run(rm)
        assert terminal.run(ls) == ""
        assert watching.poll() is None


def test_the_commands_on_jobs(folder: Path) -> None:
    """What the page has run is without a body here, and fails where a letter is to be dead."""
    program = programs("docs/how-to/jobs.md")[0].partition("async def main")[0]
    failing = '    if run.params["day"] == "bad":\n        raise ValueError("no such day")\n'
    head, _, body = program.replace("retry=5", "retry=1").partition('    print("settle"')
    (folder / "shop.py").write_text(f'{head}{failing}    print("settle"{body}')
    (folder / "pyproject.toml").write_text('[tool.locum]\napp = "shop:host"\n')
    done: list[str] = []
    with Terminal(folder) as terminal:
        terminal.begin("locum run --name web-1")
        until((folder / "shop-jobs.db").exists, "the jobs' database")
        until(terminal.says("runs jobs"), "the instance")
        for line in commands("jobs.md", "text"):
            name = line.split()[2]
            if name in ("redrive", "discard"):
                dead = terminal.run("""locum jobs run settle --params '{"day": "bad"}'""").strip()
                until(lambda dead=dead: dead in terminal.run("locum jobs dead"), "a dead letter")  # type: ignore[misc]
                line = line.replace("RUN", dead)
            elif name == "cancel":
                terminal.stop()
                line = line.replace("RUN", terminal.run("locum jobs run settle").strip())
            said = until(lambda line=line: terminal.run(line), line)  # type: ignore[misc]
            if name == "next":
                assert len(said.splitlines()) == 3
            elif name == "backfill":
                assert "31 runs of settle are new." in said
            done.append(name)
    assert len(done) == 13


SLICES = """
import asyncio

from locum import Host, Run

host = Host("shop", store="sqlite:///shop.db")


@host.job(slices=900)
async def total(run: Run) -> None:
    await asyncio.sleep(0.5)
"""


def test_the_progress_of_slices(folder: Path) -> None:
    """Of the line that jobs-slices.md shows the words and their order hold; its numbers are another run's."""
    (line,) = programs("docs/how-to/jobs-slices.md", "text")
    form = re.sub(r"[█░]+", "[█░]{12}", re.sub(r"\d+(\\\.\d+)?", r"\\d+(\\.\\d+)?", re.escape(line.strip())))
    form = form.replace("…", ".*").replace(r"web\-\d+(\.\d+)?", "web-1")
    form = re.sub(r"(\\ )+", r"\\s+", form)
    (folder / "shop.py").write_text(SLICES)
    (folder / "pyproject.toml").write_text('[tool.locum]\napp = "shop:host"\n')
    with Terminal(folder) as terminal:
        terminal.begin("locum run --name web-1")
        until((folder / "shop-jobs.db").exists, "the jobs' database")
        until(terminal.says("runs jobs"), "the instance")
        assert terminal.run("locum jobs run total").strip()
        until(lambda: re.search(form, terminal.run("locum jobs show total")), f"a line like {form}")


def test_the_commands_on_the_table_of_fences(folder: Path) -> None:
    """The one that makes it is given to a real server in tests/unit/cli/test_fence_table.py."""
    printed, made = commands("fences.md", "text")
    with Terminal(folder) as terminal:
        assert "CREATE TABLE IF NOT EXISTS locum_fence" in terminal.run(printed)
        assert made.startswith("locum fence-table mysql://")


def test_a_backup_of_sqlite_is_put_back_as_its_page_says(folder: Path) -> None:
    if shutil.which("sqlite3") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("not installed: sqlite3")
        pytest.skip("not installed: sqlite3")
    (folder / "backup").mkdir()
    backup, *restore = (one.command for one in shown("docs/stores/sqlite.md"))
    with Terminal(folder) as terminal:

        def give(command: str, *, says: str = "") -> str:
            return terminal.run(command.replace("/var/lib/billing", ".").replace("/backup/", "backup/"), says=says)

        terminal.begin("locum run --name web-1")
        until(terminal.says("web-1 is active in settlement (token 1)"), "an active one")
        give(backup)
        terminal.stop()
        *put_back, reset = restore
        for command in put_back:
            give(command)
        assert "has a new identity" in give(reset, says="y\n")
        terminal.begin("locum run --name web-2")
        until(terminal.says("web-2 is active in settlement (token 2)"), "a token above that of the backup")


def test_the_settings_of_redis_are_those_of_its_tests(tmp_path: Path) -> None:
    """The rights on the same page are given out by tests/servers/redis.py."""
    (block,) = (one for one in programs("docs/stores/redis.md", "text") if one.startswith("appendonly"))
    documented = dict(line.split() for line in block.splitlines())
    used = redis.Redis(tmp_path).settings
    assert documented.pop("maxmemory-policy") == "noeviction", "which is Redis's own default"
    assert documented == {key: used[key] for key in documented}


def test_each_extra_that_a_page_installs_is_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = [
        extra
        for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
        for group in re.findall(r"locum\[([\w,-]+)\]", page.read_text())
        for extra in group.split(",")
    ]
    assert len(named) > 5
    assert set(named) <= set(extras)


def _sentences(block: str) -> list[str]:
    """The lines of a log that the page has broken, each put together again."""
    return [" ".join(part.split()) for part in re.split(r"\n(?=\d\d:)", block)]
