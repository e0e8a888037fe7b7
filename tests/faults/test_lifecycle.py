"""Whole processes: how a host starts, what signals do to it, and with which exit code it leaves."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

import pytest

from locum import exit_codes
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from pathlib import Path

KEPT, EMBEDDED = "host.run()", "host.run(embedded=True)"
BOTH = pytest.mark.parametrize("run", [KEPT, EMBEDDED], ids=["kept", "embedded"])
HEAD = """
import asyncio, logging, sys, time
from locum import BackgroundService, Host, Restart
logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
def say(*words): print(*words, flush=True)
host = Host("life", ttl=1.5)
"""


class Program:
    """A program that runs a host, and what it says."""

    def __init__(self, folder: Path, body: str, run: str, *, terminal: int | None = None) -> None:
        (folder / "app.py").write_text(HEAD + body + "\nif __name__ == '__main__':\n    " + run + "\n")
        self._output = folder / "output"
        keywords: dict[str, Any] = {}
        if terminal is not None:
            keywords = {"stdin": terminal, "start_new_session": True, "preexec_fn": lambda: _take_terminal(terminal)}
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=folder, stdout=output, stderr=subprocess.STDOUT, **keywords
            )

    @property
    def text(self) -> str:
        return self._output.read_text()

    def says(self, words: str, *, times: int = 1) -> None:
        """Wait until it has said so."""
        until(lambda: self.text.count(words) >= times, f"{words!r} in:\n{self.text}")

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def leaves(self) -> int:
        """Wait for its end; the exit code."""
        until(lambda: self.process.poll() is not None, "its end")
        return int(self.process.returncode)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        sys.stdout.write(self.text)  # shown if the test fails


def _take_terminal(fd: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)


# -- settings that change while it runs

SETTLED = """
host = Host("life", ttl=1.5, config="life.toml")
@host.background(stop_timeout=3600)
async def polite(stopping):
    say("begun", stopping.stopping)
    while not stopping.stopping:
        await stopping.sleep(0.05)
        if Path("hang").exists():
            Path("hang").rename("hung")
            time.sleep(3600)
    say("asked")
    await asyncio.sleep({takes})
    say("done")
"""


def settled(takes: float) -> str:
    return "from pathlib import Path\n" + SETTLED.format(takes=takes)


def reload(program: Program, folder: Path, settings: str) -> None:
    before = program.text.count("The settings were read again")
    (folder / "life.toml").write_text(f"[locum]\n{settings}\n")
    program.send(signal.SIGHUP)
    program.says("The settings were read again", times=before + 1)


@BOTH
def test_a_stop_timeout_that_a_reload_has_changed_holds_for_the_next_stop(tmp_path: Path, run: str) -> None:
    (tmp_path / "life.toml").write_text("")
    with Program(tmp_path, settled(takes=3600), run) as program:
        program.says("runs polite")
        reload(program, tmp_path, "stop_timeout = 0.5")
        program.send(signal.SIGTERM)
        program.says("asked")
        program.leaves()
        assert "done" not in program.text


@BOTH
def test_what_a_worker_has_started_with_is_in_no_collection_of_garbage(tmp_path: Path, run: str) -> None:
    """It would hold the loop up for as long as it takes to look through it; in another's process that is theirs."""
    body = """
import gc
@host.background
async def watching(stopping):
    async for _ in stopping.every(0.05):
        say("apart" if gc.get_freeze_count() else "together")
        if (gc.get_freeze_count() > 0) == (sys.argv[1] == "kept"): break
    say("seen")
    await stopping.sleep(3600)
"""
    kept = run == KEPT
    with Program(tmp_path, body.replace('sys.argv[1] == "kept"', str(kept)), run) as program:
        program.says("seen")
        assert ("apart" in program.text) is kept
        program.send(signal.SIGTERM)
        assert program.leaves() == exit_codes.CLEAN


def test_a_keeper_gives_the_time_that_a_reload_has_given(tmp_path: Path) -> None:
    """By the old limit it would kill its worker 5 s after that."""
    (tmp_path / "life.toml").write_text("[locum]\nstop_timeout = 0.1\n")
    with Program(tmp_path, settled(takes=6.0), KEPT) as program:
        program.says("runs polite")
        reload(program, tmp_path, "stop_timeout = 60")
        program.send(signal.SIGTERM)
        program.says("done")
        assert program.leaves() == exit_codes.CLEAN


def test_a_hang_timeout_that_a_reload_has_changed_ends_what_hangs(tmp_path: Path) -> None:
    (tmp_path / "life.toml").write_text("[locum]\nhang_timeout = 3600\n")
    with Program(tmp_path, settled(takes=0), KEPT) as program:
        program.says("runs polite")
        reload(program, tmp_path, "hang_timeout = 1")
        (tmp_path / "hang").touch()
        program.says("its worker is started again")
        program.says("begun", times=2)


# -- signals

POLITE = """
@host.background(stop_timeout=3600)
async def polite(stopping):
    say("begun", stopping.stopping)
    try:
        await asyncio.sleep(3600)
    finally:
        say("cancelled")
"""


@BOTH
def test_the_first_signal_is_graceful_the_second_one_cancels(tmp_path: Path, run: str) -> None:
    with Program(tmp_path, POLITE, run) as program:
        program.says("begun")
        program.says("runs polite")
        program.send(signal.SIGTERM)
        program.says("stops.")
        pass_by(0.5)
        assert "cancelled" not in program.text, "it listens, and has its time"
        program.send(signal.SIGINT)
        assert program.leaves() == exit_codes.CLEAN
        assert "cancelled" in program.text


@BOTH
def test_the_third_signal_leaves_at_once(tmp_path: Path, run: str) -> None:
    body = """
@host.background(stop_timeout=3600)
async def stubborn(stopping):
    say("begun", stopping.stopping)
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            say("not me")
"""
    with Program(tmp_path, body, run) as program:
        program.says("runs stubborn")
        program.says("begun")
        program.send(signal.SIGTERM)
        program.says("stops.")
        program.send(signal.SIGTERM)
        program.says("not me")
        program.send(signal.SIGINT)
        assert program.leaves() == exit_codes.forced_by(signal.SIGINT)


@BOTH
def test_sighup_reloads_and_sigusr1_writes_all_stacks_and_it_runs_on(tmp_path: Path, run: str) -> None:
    body = """
def reload_something(): say("reloaded")
async def reload_slowly(): await asyncio.sleep(0); say("reloaded too")
def reload_badly(): raise ValueError("no such file")
host.plan.on_reload += [reload_something, reload_badly, reload_slowly]
@host.background
async def polite(stopping):
    await stopping.sleep(3600)  # the task
    say("asked")
@host.background
def plain(stopping):
    while not stopping.stopping:
        time.sleep(0.01)  # the thread
"""
    with Program(tmp_path, body, run) as program:
        program.says("runs polite, plain")
        for times in (1, 2):
            program.send(signal.SIGHUP)
            program.says("reloaded\n", times=times)
            program.says("reloaded too", times=times)
            program.says("no such file", times=times)
            program.send(signal.SIGUSR1)
            program.says("await stopping.sleep(3600)  # the task", times=times)
            program.says("in plain", times=times)
        assert "asked" not in program.text
        program.send(signal.SIGTERM)
        assert program.leaves() == exit_codes.CLEAN


def test_a_terminal_that_is_hung_up_stops_it(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    body = "@host.background\nasync def polite(stopping):\n    await stopping.sleep(3600)\n    say('asked')\n"
    with Program(tmp_path, body, KEPT, terminal=theirs) as program:
        os.close(theirs)
        program.says("runs polite")
        program.send(signal.SIGHUP)
        program.says("told to reload")
        os.close(ours)
        assert program.leaves() == exit_codes.CLEAN
        assert "asked" in program.text


@BOTH
def test_a_stop_in_the_middle_of_the_start_takes_it_back(tmp_path: Path, run: str) -> None:
    body = """
class First(BackgroundService):
    async def run(self, stopping): await asyncio.Event().wait()
    async def close(self): say("first closed")
class Second(BackgroundService):
    async def start(self): say("starting"); await asyncio.Event().wait()
    async def close(self): say("second closed")
host.add(First)
host.add(Second, after=["first"])
"""
    with Program(tmp_path, body, run) as program:
        program.says("starting")
        program.send(signal.SIGTERM)
        assert program.leaves() == exit_codes.CLEAN
        assert program.text.index("second closed") < program.text.index("first closed")
        assert "Traceback" not in program.text


@BOTH
def test_a_handler_that_fails_is_logged_and_harms_nobody_and_the_last_one_is_heard_out(
    tmp_path: Path, run: str
) -> None:
    body = """
from pydantic import BaseModel
from locum import TermEnded, TermStarted
class Shop(BaseModel): rate: int = 1
shop = host.options(Shop)
@host.active_passive
async def settle(term):
    async for _ in term.every(0.05): pass
    say("settled")
@host.on(TermStarted)
async def fails(event): await asyncio.sleep(0); raise ValueError("async boom")
@host.on(TermStarted)
def fails_too(event): raise ValueError("plain boom")
@host.on(TermEnded)
async def page(event): await asyncio.sleep(0.3); say("paged")
@shop.on_change
async def changed(now): raise ValueError("changed boom")
host.plan.on_reload.insert(0, lambda: os.environ.update(SHOP_RATE="2"))
import os
"""
    with Program(tmp_path, body, run) as program:
        program.says("runs settle")
        for words in ("async boom", "plain boom"):
            program.says(words)
        program.send(signal.SIGHUP)
        program.says("changed boom")
        pass_by(0.5)
        program.send(signal.SIGTERM)
        assert program.leaves() == exit_codes.CLEAN
        assert program.text.count("is active in settle") == 1, "by the same worker, to its end"
        assert program.text.index("settled") < program.text.index("paged")


# -- how it ends by itself


@BOTH
@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (
            "@host.background(completion='stop_host')\nasync def job(stopping): say('done')\n"
            "@host.background\nasync def other(stopping): await asyncio.Event().wait()\n",
            exit_codes.CLEAN,
            "job has completed: life stops, as was declared.",
        ),
        (
            "@host.background(completion='stop_when_all_done')\nasync def first(stopping): say('one')\n"
            "@host.background(completion='stop_when_all_done')\n"
            "async def second(stopping): await asyncio.sleep(0.3); say('two')\n"
            "@host.background\nasync def other(stopping): await asyncio.Event().wait()\n",
            exit_codes.CLEAN,
            "two\nsecond has completed: life stops",
        ),
        (
            "@host.background(completion='stop_host', restart='never')\n"
            "async def job(stopping): raise ValueError('boom')\n",
            exit_codes.SERVICE_FAILED,
            "job has failed: life stops",
        ),
        (
            "@host.background(completion='stop_host', restart='never')\n"
            "async def job(stopping): await asyncio.sleep(0.5); raise ValueError('boom')\n",
            exit_codes.SERVICE_FAILED,
            "job has failed: life stops",
        ),
    ],
    ids=["stop_host", "stop_when_all_done", "failed", "failed after all have started"],
)
def test_completion_ends_the_host_as_declared(tmp_path: Path, run: str, body: str, code: int, words: str) -> None:
    with Program(tmp_path, body, run) as program:
        assert program.leaves() == code
        assert words in program.text


def test_what_completes_or_fails_for_good_keeps_the_host_and_a_failure_gives_its_code(tmp_path: Path) -> None:
    body = """
@host.background
async def job(stopping): say("done")
@host.background(restart="never")
async def broken(stopping): raise ValueError("boom")
@host.background
async def other(stopping):
    await stopping.sleep(3600)
    say("asked")
"""
    with Program(tmp_path, body, KEPT) as program:
        program.says("runs job, broken, other")
        program.says("it is not run again")
        pass_by(0.5)
        assert "asked" not in program.text
        program.send(signal.SIGTERM)
        assert program.leaves() == exit_codes.SERVICE_FAILED


@BOTH
@pytest.mark.parametrize("cause", ["signal", "completion", "failure", "crash loop"])
def test_the_order_of_a_stop_is_the_same_whatever_it_was_caused_by(tmp_path: Path, run: str, cause: str) -> None:
    declared = {"completion": "completion='stop_host'", "failure": "completion='stop_host', restart='never'"}
    body = f"""
import os
class Noisy(BackgroundService):
    def __init__(self, name): self.name = name
    async def run(self, stopping):
        await stopping.sleep(3600)
        say("end", self.name)
    async def stopping(self): say("stopping", self.name)
    async def stop(self): say("stop", self.name)
    async def close(self): say("close", self.name)
host.add(Noisy("a"), name="a")
host.add(Noisy("b"), name="b", after=["a"])
@host.background({declared.get(cause, "restart=Restart(most=0)")})
async def cause(stopping):
    await asyncio.sleep(0.3)  # all are started
    if {cause == "signal"}: await stopping.sleep(3600)
    if {cause != "completion"} and not stopping.stopping: raise ValueError("boom")
"""
    with Program(tmp_path, body, run) as program:
        program.says("runs a, b, cause")
        if cause == "signal":
            program.send(signal.SIGTERM)
        program.says("close a")
        if run == KEPT and cause == "crash loop":
            program.send(signal.SIGTERM)  # its keeper would begin anew
        program.leaves()
        words = [
            line for line in program.text.splitlines() if line.partition(" ")[0] in ("stopping", "end", "stop", "close")
        ]
        assert words[:8] == [
            *("stopping b", "stopping a"),
            *("end b", "stop b", "end a", "stop a"),
            *("close b", "close a"),
        ]


CRASHING = """
@host.background(restart=Restart(most=1, first=0.01), group="pair")
async def crashing(stopping):
    say("crashing runs")
    await asyncio.sleep(0.01)
    raise ValueError("boom")
@host.background(group="pair")
async def partner(stopping):
    say("partner runs")
    await stopping.sleep(3600)
    say("partner ends")
@host.background
async def other(stopping):
    say("other runs")
    await stopping.sleep(3600)
    say("other ends")
"""


def test_a_crash_loop_begins_its_group_anew_and_no_one_else(tmp_path: Path) -> None:
    with Program(tmp_path, CRASHING, EMBEDDED) as program:
        program.says("partner runs", times=3)
        assert program.text.count("crashing runs") >= 4
        assert program.text.count("other runs") == 1
        assert "the group pair begins anew in" in program.text
        program.send(signal.SIGTERM)
        assert program.leaves() == exit_codes.CLEAN


def test_a_crash_loop_without_a_group_ends_the_host(tmp_path: Path) -> None:
    with Program(tmp_path, CRASHING.replace(', group="pair"', ""), EMBEDDED) as program:
        assert program.leaves() == exit_codes.SERVICE_FAILED
        assert "life stops: crashing failed 2 times within 300 s" in program.text
        assert "other ends" in program.text, "in order"


def test_under_a_keeper_the_host_begins_anew_after_a_crash_loop(tmp_path: Path) -> None:
    with Program(tmp_path, CRASHING.replace(', group="pair"', ""), KEPT) as program:
        program.says("its worker is started again in")
        program.says("other runs", times=2)
        program.send(signal.SIGTERM)
        assert program.leaves() in (exit_codes.CLEAN, exit_codes.SERVICE_FAILED)


# -- unhappy starts


@BOTH
@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (
            "@host.background(after=['b'])\nasync def a(stopping): ...\n"
            "@host.background(after=[a])\nasync def b(stopping): ...\n",
            exit_codes.BAD_CONFIGURATION,
            "a after b after a: nobody could be first",
        ),
        (
            "@host.background(after=['nobody'])\nasync def a(stopping): ...\n",
            exit_codes.BAD_CONFIGURATION,
            "a comes after 'nobody', which is no service of this host",
        ),
        (
            "class A(BackgroundService):\n    async def start(self): raise OSError('port 80 is in use')\n"
            "    async def close(self): raise LookupError('nothing to close')\n"
            "    async def run(self, stopping): ...\nhost.add(A)\n",
            exit_codes.SERVICE_FAILED,
            "\na did not start: OSError: port 80 is in use\nwhile stopping again: nothing to close",
        ),
        (
            "from locum.errors import ConfigurationError\n"
            "class A(BackgroundService):\n    async def start(self): raise ConfigurationError('no key: set KEY')\n"
            "    async def run(self, stopping): ...\nhost.add(A)\n",
            exit_codes.BAD_CONFIGURATION,
            "a did not start: ConfigurationError: no key: set KEY\n",
        ),
        (
            "class A(BackgroundService):\n    async def start(self): await asyncio.Event().wait()  # for ever\n"
            "    async def run(self, stopping): ...\nhost.add(A, start_timeout=0.2)\n",
            exit_codes.SERVICE_FAILED,
            "await asyncio.Event().wait()  # for ever, within 0.2 s",
        ),
    ],
    ids=["circle", "unknown", "start fails", "start cannot be", "start hangs"],
)
def test_an_unhappy_start_says_what_is_wrong_and_leaves_with_its_code(
    tmp_path: Path, run: str, body: str, code: int, words: str
) -> None:
    with Program(tmp_path, body, run) as program:
        assert program.leaves() == code
        assert words in f"\n{program.text}"
        assert program.text.count("Traceback") == 2 * words.count("OSError"), "only those of the user's own errors"


@BOTH
def test_the_port_of_an_application_that_is_in_use_is_one_readable_error_and_78(tmp_path: Path, run: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        body = (
            "from starlette.applications import Starlette\nfrom locum.integrations.asgi import AsgiService\n"
            f"host.add(AsgiService(Starlette(), port={port}), name='web')\n"
        )
        with Program(tmp_path, body, run) as program:
            assert program.leaves() == exit_codes.BAD_CONFIGURATION
            (line,) = (one for one in program.text.splitlines() if "did not start" in one)
            assert f"cannot listen on 127.0.0.1:{port}: " in line
            assert "Traceback" not in program.text


# -- what cannot be ended


@BOTH
def test_what_ignores_everything_is_abandoned_with_its_stack_in_time(tmp_path: Path, run: str) -> None:
    body = """
@host.background(stop_timeout=0.5)
def stuck(stopping):
    say("begun")
    while True:
        time.sleep(0.1)  # here it stands
"""
    with Program(tmp_path, body, run) as program:
        program.says("runs stuck")
        program.says("begun")
        program.send(signal.SIGTERM)
        assert program.leaves() == exit_codes.WOULD_NOT_STOP
        assert "stuck ignored that it was cancelled. Where it stands:" in program.text
        assert "# here it stands" in program.text
