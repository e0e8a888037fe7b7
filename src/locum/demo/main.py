"""The demo from beginning to end."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from locum import exit_codes
from locum.clock import Clock, nanoseconds, seconds
from locum.demo import generator
from locum.demo.audit import Trail, takeovers
from locum.demo.brokers import NoBroker, broker_for
from locum.demo.cluster import Cluster
from locum.demo.direction import Direction
from locum.demo.folder import Folder
from locum.demo.lineup import Lineup
from locum.demo.live import Instance, Picture, view_for
from locum.demo.orders import Counts, Orders
from locum.demo.plan import least_seconds
from locum.demo.trace import TraceReader
from locum.demo.verdict import Evidence, Wanted, judge
from locum.demo.watch import Watch
from locum.errors import ConfigurationError, StoreError
from locum.host.settings import absolute
from locum.scopes import Scope, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from locum.demo.brokers import Message
    from locum.demo.live import View
    from locum.demo.settings import DemoSettings
    from locum.demo.verdict import Result

__all__ = ["run_demo"]

_FAILED: Final = 1
_START_WITHIN: Final = 30.0  # s
_SETTLE_WITHIN: Final = 10.0  # s
_LOOK_EVERY: Final = 0.02  # s
_DRAW_EVERY: Final = 0.2  # s


def run_demo(
    *,
    seconds: float,
    kills: int,
    settings: DemoSettings,
    instances: int,
    store: str | None = None,
    as_json: bool = False,
) -> int:
    """Start instances, hurt the active one again and again, and audit what the bodies wrote.

    Args:
        seconds: How long orders are placed.
        kills: How often the active instance is hurt, the four kinds in turn.
        settings: How many orders are placed, how often the service looks, and where it relays to.
        instances: How many instances run.
        store: The URL of the store through which they agree; a SQLite file in the run's own folder if none is given.
        as_json: Print nothing but one JSON object on stdout.

    Returns:
        The exit code: 0 if nothing was lost, doubled or overlapped and every takeover came; 1 if not; 2 if it cannot be
        asked for so.
    """
    wanted = Wanted(seconds=seconds, kills=kills, rate=settings.rate, instances=instances)
    objection = _objection(wanted)
    if objection is not None:
        _complain(objection)
        return exit_codes.USAGE
    folder = Folder(Path(tempfile.mkdtemp(prefix="locum-demo-")))
    store = absolute(store or folder.store_url, Path.cwd())
    view = view_for(as_json=as_json)
    code = _FAILED
    try:
        code = run(_Run(wanted, folder, store, view, settings, as_json=as_json).run())
    except ConfigurationError as error:
        _complain(str(error))
        code = exit_codes.BAD_CONFIGURATION
    except StoreError as error:
        _complain(str(error))
        code = exit_codes.STORE_UNAVAILABLE
    finally:
        if code == _FAILED:
            _complain(f"The files of this run are kept in {folder.path}.")
        else:
            shutil.rmtree(folder.path, ignore_errors=True)
    return code


def _objection(wanted: Wanted) -> str | None:
    if not (wanted.seconds > 0 and wanted.rate > 0 and wanted.kills >= 0 and wanted.instances >= 1):
        return "The demo needs some seconds, some orders a second and at least one instance."
    if wanted.kills and wanted.instances < 2:
        return "To take over from an active instance that is hurt, there must be two instances at least."
    least = least_seconds(wanted.kills)
    if wanted.seconds < least:
        return f"{wanted.kills} kills need {least:g} s at least: give more than {wanted.seconds:g} s, or fewer kills."
    return None


def _complain(sentence: str) -> None:
    print(sentence, file=sys.stderr)


class _Run:
    """One run."""

    def __init__(
        self, wanted: Wanted, folder: Folder, store: str, view: View, settings: DemoSettings, *, as_json: bool
    ) -> None:
        self._wanted, self._folder, self._view, self._as_json = wanted, folder, view, as_json
        self._clock = Clock()
        self._cluster = Cluster(wanted.instances, folder, store, clock=self._clock, settings=settings)
        self._broker = broker_for(settings.broker, folder.path.name)
        self._messages: list[Message] | None = None
        self._lineup = Lineup(store, clock=self._clock)
        self._watch = Watch(folder, clock=self._clock)
        self._direction = Direction(wanted, self._cluster, self._watch, self._lineup, self._clock, self._tell)
        self._begun: int | None = None
        self._ended_at = 0
        self._sentences: list[str] = []
        self._heard = 0

    async def run(self) -> int:
        """Run; the exit code."""
        stopped = asyncio.Event()
        received: list[int] = []

        def stop(number: int) -> None:
            received.append(number)
            stopped.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop, number)
        async with self._store_to_ourselves(), Scope("demo") as scope:
            play = scope.spawn(self._play(), name="play")
            told = scope.spawn(stopped.wait(), name="signals")
            await asyncio.wait([play, told], return_when=asyncio.FIRST_COMPLETED)
        if not play.done() or play.cancelled():
            return exit_codes.forced_by(received[0])
        return self._conclude(play.result())

    @asynccontextmanager
    async def _store_to_ourselves(self) -> AsyncIterator[None]:
        """The store is open for the length of the block.

        Raises:
            ConfigurationError: It can never work so, or another demo uses it.
            StoreError: Not now.
        """
        try:
            await self._lineup.open()
            if await self._lineup.is_taken():
                raise ConfigurationError(
                    "another demo runs on this store already: wait for its end, or name another database"
                )
            yield
        finally:
            await self._lineup.close()

    async def _play(self) -> list[str]:
        """Everything up to the end of the last process; the reasons why it was cut short."""
        self._view.begin(self._wanted)
        try:
            await self._broker.open()
            async with Scope("play") as scope:
                scope.spawn(self._cluster.keep_up(), name="instances")
                scope.spawn(self._look(), name="looking")
                scope.spawn(self._draw(), name="drawing")
                reasons = await self._act()
                self._ended_at = self._clock.now()
        finally:
            self._view.end()
            await self._cluster.end()
            self._watch.close()
        if not isinstance(self._broker, NoBroker):
            self._messages = await self._broker.all_messages()
            await self._broker.clear()
        await self._broker.close()
        return reasons

    async def _act(self) -> list[str]:
        await self._until(lambda: self._watch.active is not None or self._cluster.broken is not None, _START_WITHIN)
        if self._watch.active is None:
            return [self._cluster.broken or f"No instance was active within {_START_WITHIN:g} s."]
        self._begun = self._clock.now()
        command = generator.command(self._folder.orders, rate=self._wanted.rate, duration=self._wanted.seconds)
        placing = self._cluster.start_beside("generator", command)
        objection = await self._direction.hurt(self._begun)
        if objection is not None:
            return [objection]
        left = self._wanted.seconds - self._elapsed()
        if not await self._until(lambda: placing.poll() is not None, left + _SETTLE_WITHIN):
            return ["The generator did not end in time."]
        if placing.returncode:
            return [f"The generator ended with exit code {placing.returncode}."]
        await self._until(self._is_settled, _SETTLE_WITHIN)
        return []

    def _is_settled(self) -> bool:
        counts = self._watch.counts()
        return counts.published >= counts.due == counts.created

    async def _until(self, happened: Callable[[], bool], within: float) -> bool:
        until = self._clock.now() + nanoseconds(within)
        while not happened():
            if self._clock.now() >= until:
                return False
            await self._clock.sleep(_LOOK_EVERY)
        return True

    # -- what is shown

    async def _look(self) -> None:
        while True:
            self._watch.look()
            for sentence in self._watch.sentences[self._heard :]:
                self._heard += 1
                self._tell(sentence)
            await self._clock.sleep(_LOOK_EVERY)

    async def _draw(self) -> None:
        while True:
            self._view.show(
                Picture(
                    wanted=self._wanted,
                    elapsed=self._elapsed(),
                    instances=await self._instances(),
                    counts=self._watch.counts() if self._begun is not None else Counts(),
                    takeovers=takeovers(self._direction.injuries, self._watch.spans),
                    sentences=self._sentences,
                )
            )
            await self._clock.sleep(_DRAW_EVERY)

    async def _instances(self) -> list[Instance]:
        in_line = await self._lineup.names()
        row = self._watch.active
        active = self._watch.instance_of.get(row.token, "") if row is not None else ""
        waiting = [name for name in in_line if name != active]
        found = []
        for name in self._cluster.names:
            if name == self._direction.frozen and name not in waiting:
                found.append(Instance(name, "frozen"))
            elif row is not None and name == active:
                found.append(Instance(name, "active", f"token {row.token}, pid {row.pid}"))
            elif name in waiting:
                found.append(Instance(name, "stands by", "next" if waiting[0] == name else ""))
            else:
                found.append(Instance(name, "starts"))
        return found

    def _tell(self, sentence: str) -> None:
        self._sentences.append(sentence)
        self._view.tell(self._elapsed(), sentence)

    def _elapsed(self) -> float:
        return seconds(self._clock.now() - self._begun) if self._begun is not None else 0.0

    # -- the end

    def _conclude(self, reasons: list[str]) -> int:
        result = self._audit()
        if self._as_json:
            print(json.dumps(result.to_dict()))
        reasons = [*reasons, *result.objections()]
        self._view.report(result, is_good=not reasons)
        for reason in reasons:
            _complain(reason)
        return _FAILED if reasons else exit_codes.CLEAN

    def _audit(self) -> Result:
        orders = Orders(self._folder.orders)
        evidence = Evidence(
            orders=orders.all_orders(),
            events=orders.all_events(),
            spans=Trail(TraceReader(self._folder.trace).read()).spans,
            injuries=self._direction.injuries,
            messages=self._messages,
            ended_at=self._ended_at,
            audited_at=self._clock.now(),
        )
        orders.close()
        return judge(self._wanted, evidence)
