"""Reporting a host's health to whoever stands outside: probes by HTTP, systemd, and a file for exec probes."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from locum.clock import nanoseconds
from locum.errors import ConfigurationError
from locum.host.health import State
from locum.host.probes import ProbeServer
from locum.host.settings import HEALTH_FILE_VARIABLE
from locum.scopes import cancel_and_wait, happens
from locum.telemetry import logger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from locum.clock import Clock
    from locum.host.health import Health
    from locum.host.notify import Notifier
    from locum.scopes import Scope

__all__ = ["Reporting", "Reports"]

_log = logger("host.health")
_EVERY: Final = 1.0  # s
_EXTENSION: Final = nanoseconds(15.0)
_BETWEEN: Final = (State.WAITING, State.STARTING, State.STOPPING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Where a host's health is reported.

    Attributes:
        address: Where probes are answered, as HOST:PORT; `None` for nowhere.
        file: The file that is touched while the host is live; `None` for none.
    """

    address: str | None = None
    file: str | None = None


class Reporting:
    """Reports until it is closed.

    Args:
        health: What is reported.
        reports: Where.
        notifier: Tells systemd.
        clock: Dates the file.
        scope: Owns the tasks.
    """

    def __init__(self, health: Health, reports: Reports, notifier: Notifier, *, clock: Clock, scope: Scope) -> None:
        self._health, self._notifier, self._clock = health, notifier, clock
        self._address = reports.address
        self._file = Path(reports.file) if reports.file else None
        self._server = ProbeServer(health, scope=scope)
        self._scope = scope
        self._interval = min(_EVERY, notifier.watchdog / 2) if notifier.watchdog else _EVERY
        self._changed = asyncio.Event()
        self._said_ready = self._said_stopping = False
        self._said_status = ""
        self._late: list[str] = []

    def change(self) -> None:
        """Something is to be reported at once."""
        self._changed.set()

    @asynccontextmanager
    async def reporting(self) -> AsyncIterator[None]:
        """Reports for the length of the block.

        Raises:
            ConfigurationError: It cannot be reported there.
        """
        if self._address:
            port = await self._server.open(self._address)
            _log.info("health is answered on port %d: /livez /readyz /health /active /standby", port)
        self._write()  # a file that cannot be written is told before anything starts
        task = self._scope.spawn(self._keep_on(), name="health")
        try:
            yield
        finally:
            await cancel_and_wait(task)
            self._health.enter(State.STOPPING)
            self._tell_systemd()
            self._notifier.close()
            await self._server.close()
            if self._file is not None:
                self._file.unlink(missing_ok=True)

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Tell systemd that settings are read again, for the length of the block; not before it was told READY.

        READY ends a reload, but a start too: nobody may hear it of a host that is not.
        """
        if not self._said_ready or self._health.state is not State.READY:
            yield
            return
        self._notifier.tell(RELOADING=1, MONOTONIC_USEC=self._clock.readings().monotonic // 1000)
        try:
            yield
        finally:
            if self._health.state is State.READY:  # a stop may have begun meanwhile
                self._notifier.tell(READY=1)

    async def _keep_on(self) -> None:
        while True:
            self._changed.clear()
            self._tell_systemd()
            self._tell_late()
            try:
                self._write()
            except ConfigurationError as error:
                _log.error("%s", error)
            await happens(self._changed.wait(), within=self._interval)
            await self._clock.sleep(0.01)  # what changes together is told together

    def _tell_systemd(self) -> None:
        if not self._notifier.is_heard:
            return
        health, tell = self._health, self._notifier.tell
        if health.state is State.READY and not self._said_ready:
            self._said_ready = tell(READY=1)
        if health.state is State.STOPPING and not self._said_stopping:
            self._said_stopping = tell(STOPPING=1)
        if health.state in _BETWEEN:
            tell(EXTEND_TIMEOUT_USEC=_EXTENSION // 1000)
        status = health.status()
        if status != self._said_status and tell(STATUS=status):
            self._said_status = status
        if self._notifier.watchdog and health.is_live:
            tell(WATCHDOG=1)

    def _tell_late(self) -> None:
        late = self._health.overdue()
        for sentence in late if len(late) > len(self._late) else ():
            _log.warning("%s.", sentence)
        self._late = late

    def _write(self) -> None:
        """Write the file anew if all is well; otherwise it grows old."""
        if self._file is None or not self._health.is_live:
            return
        picture = {"at": self._clock.now(), **self._health.picture()}
        draft = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        try:
            draft.write_text(json.dumps(picture))
            draft.replace(self._file)
        except OSError as error:
            raise ConfigurationError(
                f"the health file {self._file} cannot be written: {error.strerror or error}; choose another one by"
                f" health_file= or {HEALTH_FILE_VARIABLE}"
            ) from error
