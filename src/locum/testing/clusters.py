"""Clusters of real instances on one store, which a test watches, hurts, and asks who is active.

Promises: the instances are what `locum run` starts, with keepers and real signals. Every wait has a deadline, and an
error of one that was in vain shows what the store says and what the instances have said. Whatever happens, nothing
that was started outlives the block: also not if the test's own process is killed.
Limits: Linux, and one machine; `partition` cuts an instance off the store alone, not from databases of your own. The
block belongs to an asyncio event loop. Times are those of a test's machine: assert order and absence, not durations.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self

from locum.clock import Clock
from locum.coordination.line import check_successor
from locum.coordination.request import Request
from locum.errors import ConfigurationError
from locum.host.host import instance_command
from locum.host.settings import INSTANCE_VARIABLE, STORE_VARIABLE, TTL_VARIABLE
from locum.keeper.budget import Budget
from locum.names import check_name
from locum.registry import make_store
from locum.scopes import Scope, finish
from locum.testing.declared import Declared
from locum.testing.gate import Gate, install
from locum.testing.instance import Instance
from locum.testing.launching import Launcher
from locum.testing.picture import lines_of_instances
from locum.testing.watching import Active, WaitedInVainError, Watch, wait_for
from locum.views.journal import read_journal

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from locum.journal import Entry
    from locum.testing.instance import Victim
    from locum.views.status import Service, Status

__all__ = ["Cluster", "cluster"]

_LONG: Final = 30.0  # s: generous, for machines under load
_CALL_TIMEOUT: Final = 10.0  # s
_NOT_RUNNING: Final = "the cluster of {} does not run: use it inside its async with block"


def cluster(
    app: str,
    *,
    instances: int = 3,
    ttl: float = 1.0,
    store: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Cluster:
    """Instances of a host, running for the length of an `async with` block.

    Args:
        app: `MODULE:HOST`, as for `locum run`; what the test can import they can import.
        instances: How many to begin with; they are called i1, i2, and so on.
        ttl: Their TTL in seconds.
        store: The URL of the store that they share, whatever the host says; a new SQLite file if none is given.
        folder: For the store and the outputs, and the instances' current folder; one that is temporary if none is
            given.
        environment: More of it for the instances. They inherit the test's, but for what begins with `LOCUM_`.

    Raises:
        ConfigurationError: The TTL cannot be kept, or, when the block is entered, there is no such host.
    """
    return Cluster(app, instances=instances, ttl=ttl, store=store, folder=folder, environment=environment)


class Cluster:
    """Some instances on one store; made by `cluster`.

    Whoever is asked for by name may be given as an `Active` too. An instance that was frozen or cut off does not count
    where the others are waited for.

    Attributes:
        folder: Where its files are.
        store: The URL of the store.
    """

    def __init__(
        self,
        app: str,
        *,
        instances: int,
        ttl: float,
        store: str | None,
        folder: str | os.PathLike[str] | None,
        environment: Mapping[str, str] | None,
    ) -> None:
        Budget.of_seconds(ttl)
        self._app, self._count, self._ttl = app, instances, ttl
        self._environment = dict(environment or {})
        self._is_temporary = folder is None
        self.folder = Path(folder or Path(tempfile.gettempdir()) / f"locum-{uuid.uuid4().hex}").absolute()
        self.store = store or f"sqlite:///{self.folder / 'cluster.locum.db'}"
        self._clock = Clock()
        self._instances: dict[str, Instance] = {}
        self._launcher: Launcher | None = None
        self._watch: Watch | None = None
        self._report = "It was not started."

    async def __aenter__(self) -> Self:
        self._scope = Scope(f"cluster of {self._app}")
        try:
            await self._begin()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    @property
    def names(self) -> tuple[str, ...]:
        """The instances that have not ended."""
        return tuple(one.name for one in self._instances.values() if not one.has_left)

    # -- watching

    async def active(self, service: str, *, after: Active | None = None, timeout: float = _LONG) -> Active:
        """Wait until an instance is active in a service, and its body runs or has completed.

        Args:
            service: The service's name.
            after: The term before: only a later one counts.
            timeout: Seconds.

        Raises:
            WaitedInVainError: Nobody was in time.
            ConfigurationError: There is no such service.
        """
        eyes = self._eyes
        eyes.check_service(service)
        least = after.token + 1 if after is not None else 0
        what = f"an instance to be active in {service}" + (f" after {after.name} ({after.token})" if after else "")
        return await eyes.seen(lambda status: eyes.active(status, service, least=least), what, timeout)

    async def standing(self, *, timeout: float = _LONG) -> None:
        """Wait until all instances stand: of each service one is active and all others wait in line.

        Raises:
            WaitedInVainError: They did not in time.
        """
        await self._eyes.seen(self._eyes.all_stand, "all instances to stand", timeout)

    async def ended(self, term: Active, *, timeout: float = _LONG) -> Entry:
        """Wait until the journal tells how a term ended.

        Returns:
            The entry; its `why` are words that follow the instance's name.

        Raises:
            WaitedInVainError: It has not told in time.
        """
        what = f"an entry of the term {term.token} of {term.name} in the journal of {term.service}"

        async def entry() -> Entry | None:
            return next((one for one in await self.journal(term.service) if one.token == term.token), None)

        return await self._eyes.until(entry, what, timeout)

    async def until(self, condition: Callable[[], object], what: str, *, timeout: float = _LONG) -> None:
        """Wait until something else is so: that a row is in your own database, for example.

        Args:
            condition: Asked again and again, in the event loop; true once it is so.
            what: What is waited for, for the message.
            timeout: Seconds.

        Raises:
            WaitedInVainError: It was not so in time.
        """
        await self._eyes.happens(lambda: bool(condition()), what, timeout)

    async def journal(self, service: str) -> tuple[Entry, ...]:
        """The terms of a service that have ended, the newest last."""
        self._eyes.check_service(service)
        found = await read_journal(self._eyes.store, service)
        return found[0].entries if found else ()

    async def status(self) -> Status:
        """What the store says: all instances and services."""
        return await self._eyes.status()

    def output(self, name: str | Active) -> str:
        """What an instance has written to its stdout and stderr so far, in all its lives."""
        return self._instance(name).output

    def report(self) -> str:
        """What all instances have said; after the block, also what the store said at its end."""
        if self._watch is None:
            return self._report
        return "\n".join(lines_of_instances(self._instances.values(), whole=True))

    # -- hurting

    async def kill(
        self,
        name: str | Active,
        *,
        what: Literal["worker", "keeper", "instance"] = "instance",
        timeout: float = _LONG,
    ) -> None:
        """Kill an instance, or a part of it, with SIGKILL; it is dead when this returns.

        Args:
            name: The instance.
            what: The `worker`, which its keeper starts again; the `keeper`, with which the worker dies; or the whole
                `instance` at once. One without keeper has left: `start` starts it again.
            timeout: Seconds to wait for the death.
        """
        instance = self._instance(name)
        if what == "instance" and instance.frozen:
            instance.kill_frozen()
            await self._eyes.happens(lambda: instance.has_left, f"{instance.name} to die", timeout)
            return
        victim = await self._hold(instance, timeout)
        try:
            if what == "instance":
                instance.process.kill()  # from above: each would otherwise see what happens to the one below
            if what != "worker":
                victim.kill_keeper()
            if what != "keeper":
                victim.kill_worker()
            else:
                instance.resume()  # the one above a frozen keeper has to reap it
            await self._eyes.happens(
                lambda: victim.has_worker_ended and (what == "worker" or instance.has_left),
                f"{instance.name} to die",
                timeout,
            )
        finally:
            victim.let_go()

    async def stop(self, name: str | Active, *, timeout: float = _LONG) -> int:
        """Stop an instance as planned, by SIGTERM, and wait until it has left.

        Returns:
            Its exit code: 0 for a clean stop.
        """
        instance = self._instance(name)
        instance.process.send_signal(signal.SIGTERM)
        await self._eyes.happens(lambda: instance.has_left, f"{instance.name} to stop", timeout)
        return instance.process.returncode

    async def start(self, name: str | Active | None = None) -> str:
        """Start one more instance, or one again that has left, without waiting for it.

        Returns:
            Its name.
        """
        if name is None:
            number = next(
                number for number in range(1, len(self._instances) + 2) if f"i{number}" not in self._instances
            )
            name = f"i{number}"
        name = check_name(name.name if isinstance(name, Active) else name, what="the name of an instance")
        known = self._instances.get(name)
        if known is not None and not known.has_left:
            raise ConfigurationError(f"{name} runs already: stop or kill it first")
        gate, log = Gate.before(self.store, self.folder / name), self.folder / f"{name}.log"
        environment = {INSTANCE_VARIABLE: name, STORE_VARIABLE: gate.url}
        process = self._running.start(instance_command(self._app), environment, log)
        self._instances[name] = Instance(name, process, log, gate)
        return name

    async def freeze(self, name: str | Active, *, timeout: float = _LONG) -> None:
        """Stop all processes of an instance with SIGSTOP; they stand still when this returns.

        What had an exclusive body is killed by the kernel at 85 % of the TTL, and has left after `resume`.
        """
        instance = self._instance(name)
        await self._eyes.happens(instance.freeze, f"the processes of {instance.name}", timeout)
        await self._eyes.happens(lambda: instance.stands_still, f"{instance.name} to stand still", timeout)

    async def resume(self, name: str | Active) -> None:
        """Let a frozen instance go on, if the kernel has not ended it meanwhile."""
        self._instance(name).resume()

    async def partition(self, name: str | Active) -> None:
        """Cut an instance off the store: its calls are lost, and so are the answers to those on their way.

        Nobody else notices but by its silence, and its processes run on: within a TTL its work is ended, and only then
        does another one take over. Your own databases it still reaches, which is what fences are for.
        """
        self._instance(name).gate.shut()

    async def heal(self, name: str | Active) -> None:
        """Let an instance reach the store again."""
        self._instance(name).gate.open()

    async def transfer(self, service: str, to: str | Active, *, timeout: float = _LONG) -> Active:
        """Let an instance that waits in line take a service over, as planned (`locum transfer`).

        Raises:
            TransferRefusedError: It does not wait in line.
            WaitedInVainError: It has not taken over in time.
        """
        successor = self._instance(to).name

        def request(service: Service) -> Request:
            check_successor(service.name, successor, holder=service.active or "", waiting=service.waiting)
            return Request(service.token, f"was transferred to {successor} by a test", successor)

        found = await self._asked(service, request, timeout)
        if found.name != successor:
            raise WaitedInVainError(
                f"{service} was to be transferred to {successor}, and {found.name} has taken over\n"
                + await self._eyes.described()
            )
        return found

    async def resign(self, service: str, *, timeout: float = _LONG) -> Active:
        """Let the active instance of a service give it up, as planned (`locum resign`), and wait for the next one."""
        return await self._asked(service, lambda one: Request(one.token, "was asked to resign by a test"), timeout)

    # -- the block

    async def _begin(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        install(self.folder)
        environment = {**self._environment, STORE_VARIABLE: self.store, TTL_VARIABLE: repr(self._ttl)}
        self._launcher = Launcher(self.folder, environment, self._clock)
        declared = await self._ask_for_declared(self._launcher)
        store = make_store(self.store, namespace=declared.name, clock=self._clock)
        store.call_timeout = _CALL_TIMEOUT
        await store.open()
        self._watch = Watch(store, declared, self._instances, self._clock)
        for _ in range(self._count):
            await self.start()

    async def _ask_for_declared(self, launcher: Launcher) -> Declared:
        log = self.folder / "declared.log"
        command = [sys.executable, "-P", "-m", "locum.testing.declared", self._app]
        with launcher.start(command, {}, log, stdout=subprocess.PIPE) as process:
            came = await wait_for(lambda: process.poll() is not None, self._clock, timeout=_LONG)
            if not came:
                process.kill()
            said = process.communicate()[0]
        if process.returncode != 0:
            why = log.read_text(errors="replace").rstrip() if came else f"importing it takes more than {_LONG:g} s"
            raise ConfigurationError(f"{self._app} cannot be run: {why}")
        return Declared.of_text(said.decode())

    async def _close(self) -> None:
        end = self._scope.spawn(self._end(), name="end")
        try:
            await finish(end)  # also if the test is cancelled meanwhile
        finally:
            await self._scope.close()
        end.result()

    async def _end(self) -> None:
        watch, self._watch = self._watch, None
        try:
            if watch is not None:
                self._report = await watch.described(whole=True)
        finally:
            if self._launcher is not None:
                await self._launcher.end()
            if watch is not None:
                await watch.store.close()
            if self._is_temporary:
                shutil.rmtree(self.folder, ignore_errors=True)

    # -- small things

    @property
    def _running(self) -> Launcher:
        if self._launcher is None:
            raise ConfigurationError(_NOT_RUNNING.format(self._app))
        return self._launcher

    @property
    def _eyes(self) -> Watch:
        if self._watch is None:
            raise ConfigurationError(_NOT_RUNNING.format(self._app))
        return self._watch

    def _instance(self, name: str | Active) -> Instance:
        name = name.name if isinstance(name, Active) else name
        if name not in self._instances:
            known = ", ".join(self._instances) or "none"
            raise ConfigurationError(f"the cluster of {self._app} has no instance {name!r}; it has: {known}")
        return self._instances[name]

    async def _hold(self, instance: Instance, timeout: float) -> Victim:
        found: list[Victim] = []

        def is_held() -> bool:
            found.extend(one for one in [instance.hold()] if one is not None)
            return bool(found)

        await self._eyes.happens(is_held, f"the processes of {instance.name}", timeout)
        return found[0]

    async def _asked(self, service: str, request: Callable[[Service], Request], timeout: float) -> Active:
        from locum.cli.asking import Seat, ask  # with what the command line needs, which a test seldom does

        before = await self.active(service, timeout=timeout)
        found = (await self.status()).service(service)
        if found is None or found.token != before.token:
            raise WaitedInVainError(f"{service} has changed hands by itself\n{await self._eyes.described()}")
        await ask(self._eyes.store, Seat.of_service(found), request(found), self._clock, timeout)
        return await self.active(service, after=before, timeout=timeout)
