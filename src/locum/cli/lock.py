"""`locum lock`: run a command while a lock is held, or while this is the active one; like flock, over the network.

Three processes in a row. The one that was started waits, passes signals on and tells the exit code; below it one holds
the lock, with the kernel's timer (`kill`); below that runs the command, which the kernel ends with its parent. So a
frozen or cut off holder has no command any more when somebody else may hold the lock.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from locum import exit_codes
from locum.cli.asking import check_argument
from locum.cli.looking import which_store
from locum.clock import seconds
from locum.errors import HoldEndedError, WaitTimeoutError
from locum.keeper import kernel
from locum.keeper.guardian import stand_guard
from locum.scopes import Scope, finish, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.cli.looking import Place
    from locum.coordination.term import Term

__all__ = ["command"]

_PASSED_ON: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_CANNOT_RUN, _NOT_FOUND = 126, 127  # as a shell says it


class _NameThenCommand(click.Command):
    """Options may stand before the name and behind it; from the command on every word is the command's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before, rest = self._split(ctx, args)
        if len(rest) > 1:
            between, command_line = self._split(ctx, rest[1:])
            args = [*before, *between, rest[0], *command_line]
        return super().parse_args(ctx, args)

    def _split(self, ctx: click.Context, args: list[str]) -> tuple[list[str], list[str]]:
        """The options that a line begins with, and all that follows."""
        words = self.make_parser(ctx).parse_args(list(args))[0]
        name, command_line = words.get("name"), words.get("command_line")
        begin = len(args) - isinstance(name, str) - (len(command_line) if isinstance(command_line, tuple | list) else 0)
        return args[:begin], args[begin:]


@click.command(
    "lock",
    cls=_NameThenCommand,
    short_help="Run a command while a lock is held.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("name")
@click.argument("command_line", nargs=-1, type=click.UNPROCESSED, required=True, metavar="-- COMMAND…")
@which_store
@click.option("--active", is_flag=True, help="Take part in the election NAME, and run while this is the active one.")
@click.option("--wait", metavar="S", type=click.FloatRange(min=0), help="Seconds to wait for it; 0 asks once.")
@click.option(
    "--conflict-exit-code",
    metavar="CODE",
    type=click.IntRange(0, 255),
    default=exit_codes.SERVICE_FAILED,
    show_default=True,
    help="The exit code where it was not had in time.",
)
@click.option(
    "--token-env",
    metavar="VARIABLE",
    default="LOCUM_TOKEN",
    show_default=True,
    help="The variable in which the command finds the fencing token.",
)
@click.option("--ttl", metavar="S", type=float, help="Seconds until this instance, if it cannot be seen, is lost.")
def command(
    name: str,
    command_line: tuple[str, ...],
    place: Callable[[], Place],
    active: bool,
    wait: float | None,
    conflict_exit_code: int,
    token_env: str,
    ttl: float | None,
) -> int:
    """Wait for the lock NAME, run COMMAND while it is held, and give it up.

    The exit code is the command's, 128 + n where a signal ended it; 75 if the lock was lost: then the command was ended
    (SIGTERM, and SIGKILL before anybody else may have it).
    """
    check_argument(name, what="the name of a lock")
    where = place()
    stand_guard(when_killed=exit_codes.FENCED)  # before there is any thread or loop
    options = _Options(name, command_line[command_line[0] == "--" :], active, wait, conflict_exit_code, token_env)
    return run(_hold_and_run(where, options, ttl or where.ttl or 6.0))


@dataclass(frozen=True, slots=True)
class _Options:
    """What the command line says."""

    name: str
    command_line: tuple[str, ...]
    active: bool
    wait: float | None
    conflict_exit_code: int
    token_env: str


async def _hold_and_run(place: Place, options: _Options, ttl: float) -> int:
    from locum.coordination.coordinator import Coordinator

    runner = _Runner(options)
    loop = asyncio.get_running_loop()
    for number in _PASSED_ON:
        loop.add_signal_handler(number, runner.pass_on, number)
    async with (
        Scope("lock", on_error=lambda _task, _error: None) as scope,  # told below, where the task is waited for
        Coordinator.connect(place.url, namespace=place.namespace, ttl=ttl, enforcement="kill") as coordinator,
    ):
        contest: Any = (coordinator.election if options.active else coordinator.lock)(options.name)
        work = scope.spawn(_run_under(contest, runner, options.wait), name="command")
        runner.waiting = work
        try:
            await finish(work)
            return work.result()
        except asyncio.CancelledError:
            return exit_codes.forced_by(runner.last or signal.SIGTERM)
        except WaitTimeoutError as error:
            click.echo(f"locum: {error}.", err=True)
            return options.conflict_exit_code
        except HoldEndedError as error:
            click.echo(f"locum: the command was ended: {error}.", err=True)
            return exit_codes.FENCED


async def _run_under(contest: Any, runner: _Runner, wait: float | None) -> int:
    async with contest.hold(timeout=wait) as term:
        return await runner.run(term)


class _Runner:
    """The command, and whom a signal is for: it, or our waiting for the lock."""

    def __init__(self, options: _Options) -> None:
        self._command_line, self._token_env = options.command_line, options.token_env
        self._process: asyncio.subprocess.Process | None = None
        self.waiting: asyncio.Task[int] | None = None
        self.last: int | None = None

    def pass_on(self, number: int) -> None:
        """A signal came."""
        self.last = number
        if self._process is not None:
            _send(self._process.pid, number)
        elif self.waiting is not None:
            self.waiting.cancel()

    async def run(self, term: Term) -> int:
        """Run the command; when this is cancelled it is ended before the deadline."""
        me = os.getpid()
        environment = {**os.environ, self._token_env: str(term.token)}
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *self._command_line, env=environment, preexec_fn=lambda: _bind(me)
            )
        except FileNotFoundError:
            click.echo(f"locum: {self._command_line[0]}: there is no such command.", err=True)
            return _NOT_FOUND
        except OSError as error:
            click.echo(f"locum: {self._command_line[0]} cannot be run: {error.strerror}.", err=True)
            return _CANNOT_RUN
        try:
            code = await process.wait()
        finally:
            self._process = None
            if process.returncode is None:
                await self._end(process, term)
        return code if code >= 0 else exit_codes.forced_by(-code)

    async def _end(self, process: asyncio.subprocess.Process, term: Term) -> None:
        """SIGTERM, and SIGKILL when a tenth of the TTL is over: at 70 % of it, where the lease ran out at 60 %."""
        _send(process.pid, signal.SIGTERM)
        grace = seconds(term.lease.budget.ttl) / 10 if term.is_lost else 10.0
        try:
            async with asyncio.timeout(grace):
                await process.wait()
        except TimeoutError:
            _send(process.pid, signal.SIGKILL)
            await process.wait()


def _bind(parent: int) -> None:
    """In the command's process, before it is the command: it ends with its parent."""
    if not kernel.die_with_parent(parent):
        os._exit(exit_codes.FENCED)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it has just ended
