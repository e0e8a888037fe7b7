"""The instances: real processes, started again when they die, and all ended at the end."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from locum import exit_codes
from locum.clock import nanoseconds
from locum.demo.folder import DEMO_VARIABLE, FOLDER_VARIABLE
from locum.demo.plan import TTL
from locum.host.host import instance_command
from locum.host.settings import INSTANCE_VARIABLE, STORE_VARIABLE, TTL_VARIABLE
from locum.identity import parent_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locum.clock import Clock
    from locum.demo.folder import Folder
    from locum.demo.settings import DemoSettings

__all__ = ["Cluster", "Victim"]

_STOP_WITHIN: Final = 10.0  # s, until SIGKILL
_LOOK_EVERY: Final = 0.05  # s
_COMMAND: Final = instance_command("locum.demo.app:host")


@dataclass(slots=True)
class Victim:
    """The active instance, held by descriptors, so that no later process of the same pid is hurt.

    Attributes:
        instance: Its name.
        token: Its token.
        guardian_fd: A pidfd of the process above its keeper.
        keeper_fd: A pidfd of its keeper.
        worker_fd: A pidfd of its worker.
    """

    instance: str
    token: int
    guardian_fd: int
    keeper_fd: int
    worker_fd: int

    def let_go(self) -> None:
        """Close the descriptors."""
        for fd in (self.guardian_fd, self.keeper_fd, self.worker_fd):
            os.close(fd)


class Cluster:
    """Some instances on one store.

    Args:
        count: How many.
        folder: Where their files are.
        store: The URL of the store.
        clock: For pauses.
        settings: What their service is to do.
    """

    def __init__(self, count: int, folder: Folder, store: str, *, clock: Clock, settings: DemoSettings) -> None:
        self.names = [f"web-{number}" for number in range(1, count + 1)]
        self._folder, self._store, self._clock, self._settings = folder, store, clock, settings
        self._instances: dict[str, subprocess.Popen[bytes]] = {}
        self._others: list[subprocess.Popen[bytes]] = []
        self.broken: str | None = None
        """Why an instance can never run, in a sentence."""

    async def keep_up(self) -> None:
        """Start every instance, and start it again whenever it has died; to be run as a task."""
        while True:
            for name in self.names:
                process = self._instances.get(name)
                if process is None or process.poll() is not None:
                    if process is not None and process.returncode == exit_codes.BAD_CONFIGURATION:
                        self.broken = f"{name} cannot run: see {self._folder.log(name).name}."
                    self._instances[name] = self._start(name, _COMMAND)
            await self._clock.sleep(_LOOK_EVERY)

    def start_beside(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start another process, which is ended with the instances and not started again."""
        process = self._start(name, command)
        self._others.append(process)
        return process

    def _guardians(self) -> dict[int, str]:
        """The living instances by the pid of what was started: the process above the keeper."""
        return {process.pid: name for name, process in self._instances.items() if process.poll() is None}

    def victim(self, worker: int, token: int) -> Victim | None:
        """The instance of a worker, if that still runs under one of our keepers."""
        try:
            worker_fd = os.pidfd_open(worker)
        except ProcessLookupError:
            return None
        # read after the descriptor was opened: if it descends from ours, it is the process that is meant
        keeper = parent_of(worker) or 0
        guardian = parent_of(keeper) or 0
        name = self._guardians().get(guardian)
        if name is None:
            os.close(worker_fd)
            return None
        return Victim(name, token, os.pidfd_open(guardian), os.pidfd_open(keeper), worker_fd)

    async def end(self) -> None:
        """End everything that was started: asked first, and after a bounded time by force."""
        running = [*self._others, *self._instances.values()]
        self._signal(running, signal.SIGCONT, signal.SIGTERM)
        until = self._clock.now() + nanoseconds(_STOP_WITHIN)
        while any(process.poll() is None for process in running) and self._clock.now() < until:
            await self._clock.sleep(_LOOK_EVERY / 5)
        self._signal(running, signal.SIGKILL)
        for process in running:
            process.wait()

    def _start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("LOCUM_")}
        ours = {
            INSTANCE_VARIABLE: name,
            STORE_VARIABLE: self._store,
            TTL_VARIABLE: str(TTL),
            FOLDER_VARIABLE: str(self._folder.path),
            DEMO_VARIABLE: str(os.getpid()),
            **self._settings.to_environment(),
        }
        with self._folder.log(name).open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder.path,  # nothing of the user's folder is imported
                env={**inherited, **ours},
                process_group=0,  # Ctrl-C is for the demo alone, which ends them
            )

    def _signal(self, processes: Sequence[subprocess.Popen[bytes]], *numbers: int) -> None:
        for process in processes:
            for number in numbers:
                process.send_signal(number)  # does nothing to one that has ended
