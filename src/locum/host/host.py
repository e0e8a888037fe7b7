"""The host: what a user declares, and `run`."""

from __future__ import annotations

import inspect
import os
import re
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from locum.coordination.shards import Sharding
from locum.errors import ConfigurationError
from locum.host.configuration import Configuration
from locum.host.layers import Sources
from locum.host.options import provide_options
from locum.host.plain import check_body
from locum.host.plan import Declaration, Plan, kind_of, rhythm_of, workers_of
from locum.host.restart import Restart
from locum.host.settings import Settings
from locum.keeper.control import WorkerEnd
from locum.keeper.owner import ENFORCEMENTS
from locum.names import check_name, snake_case
from locum.services.periodic import Overlap, Rhythm
from locum.services.sharded import ShardedService, sharding_of
from locum.services.work_queue import WorkQueue
from locum.telemetry import Event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from locum.host.configuration import Options
    from locum.host.container import Lifetime
    from locum.host.plan import Kind, ServiceOptions
    from locum.jobs.declaring import JobOptions
    from locum.jobs.jobs import Jobs
    from locum.jobs.triggers import Gap, Trigger

__all__ = ["Host", "instance_command", "keeper_command", "worker_command"]

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., object]")
H = TypeVar("H", bound="Callable[..., object]")


class Host:
    """A set of services that one instance runs.

    Args:
        name: The host's name; instances of one name share their services.
        store: The URL of the store that they share; a SQLite file beside the user's module if none is given.
        ttl: Seconds until an instance that cannot be seen is taken for lost.
        instance: This instance's name; made of the machine's name and the pid if none is given.
        enforcement: What happens to work whose time is up: `kill`, by the keeper and the kernel; or `cancel`, the
            default inside somebody else's process, and possible only there.
        hang_timeout: Seconds after which a worker whose event loop does not turn is ended and started again, a
            start that blocks too; `math.inf` for never.
        config: A file of settings (TOML, JSON or YAML), beside the user's module if its path is relative.
        env_file: A file of variables, which need not be there.
        stop_timeout: Seconds that the stop of all services may take; what the longest chain of them may, if none
            are given.
        drain_delay: Seconds between the announcement of a stop (not ready any more) and the stop, in which all
            services run: for load balancers to look elsewhere.
        health: Where probes are answered, as HOST:PORT: `/livez`, `/readyz`, `/health`, `/active`, `/standby`.
        job_store: The URL of the job database; beside the store, if that is SQLite or PostgreSQL and none is given.
        state_store: The URL of the database of services' states; beside the store, as that of jobs, if none is given.
        jobs_at_once: How many runs of jobs one instance has at once; what is beyond them waits for another.
        health_file: A file that is touched as long as the instance is live, for probes that run a command.
    """

    def __init__(
        self,
        name: str,
        *,
        store: str | None = None,
        ttl: float = 6.0,
        instance: str | None = None,
        enforcement: str | None = None,
        hang_timeout: float = 30.0,
        config: str | None = None,
        env_file: str | None = None,
        stop_timeout: float | None = None,
        drain_delay: float = 0.0,
        health: str | None = None,
        health_file: str | None = None,
        job_store: str | None = None,
        state_store: str | None = None,
        jobs_at_once: int = 10,
    ) -> None:
        if enforcement not in (None, *ENFORCEMENTS):
            raise ConfigurationError(f"enforcement={enforcement!r} is not known: it is {' or '.join(ENFORCEMENTS)}")
        file = sys._getframe(1).f_globals.get("__file__")
        self.name = check_name(name, what="the name of a host")
        settings = Settings(
            name=name,
            store=store,
            ttl=ttl,
            instance=instance,
            hang_timeout=hang_timeout,
            folder=Path(file).absolute().parent if file else Path.cwd(),
            stop_timeout=stop_timeout,
            drain_delay=drain_delay,
            health=health,
            health_file=health_file,
            job_store=job_store,
            state_store=state_store,
        )
        sources = Sources(settings.folder, config, env_file)
        configuration = Configuration(settings, sources)
        self.plan = Plan(name, configuration, enforcement=enforcement, jobs_at_once=jobs_at_once)

    @property
    def settings(self) -> Settings:
        """The host's own settings, as files, environment and command line override them; read anew."""
        return self.plan.configuration.read().settings

    def options(self, model: type[T], *, section: str | None = None) -> Options[T]:
        """Read a section of the settings as a model of pydantic; it is checked before anything starts.

        `Options[model]` is a collaborator from then on, and so is the model itself, for one run of a body.

        Args:
            model: A `pydantic.BaseModel`; its defaults are the lowest layer.
            section: `billing` is `[billing]` in a file and `BILLING_...` in the environment; the model's name in snake
                case, without `options` or `settings` at its end, if none is given.
        """
        name = section or re.sub(r"_(options|settings)$", "", snake_case(model.__name__))
        return provide_options(self.plan.container, self.plan.configuration, model, name)

    def reload(self) -> bool:
        """Read the settings again, while the host runs and in its event loop; wrong ones are told, and change nothing.

        Returns:
            Whether they could be read.
        """
        return self.plan.configuration.reload()

    def provide(self, factory: Callable[..., object], *, lifetime: Lifetime = "host") -> None:
        """Build collaborators with this function (plain, async or generator) or class, by its return annotation.

        Args:
            factory: What builds it; it may ask for collaborators itself.
            lifetime: How long one lives: as long as the `host`, one `run` of a body, or one `tick` of a periodic one.
        """
        self.plan.container.provide(factory, lifetime)

    def fence(self, target: Any) -> None:
        """Raise a fence in this database before each term's body (R21).

        Args:
            target: An engine, a connection, or the type of a collaborator that is one or has one.
        """
        self.plan.fences.append(target)

    def add(self, service: Any, *, active_passive: bool = False, **options: Unpack[ServiceOptions]) -> None:
        """Add a service: a class, which is built with its collaborators, or an object.

        Args:
            service: An `ActivePassiveService`, `BackgroundService`, `PeriodicService`, `ConsumerService` or
                `ShardedService`; or the class of a `StatelessService` or `StatefulService`, of which each life
                has a new object.
            active_passive: Let a `PeriodicService` or `ConsumerService` work on one instance; it runs on all otherwise.
            options: See `ServiceOptions`.
        """
        kind = kind_of(service, active_passive=active_passive)
        cls = service if inspect.isclass(service) else type(service)
        options.setdefault("name", snake_case(cls.__name__))
        sharding = sharding_of(service) if issubclass(cls, ShardedService) else None
        how = {"rhythm": rhythm_of(service), "workers": workers_of(service), "sharding": sharding}
        self._declare(kind, service, options, **how)
        if inspect.isclass(service):
            self.plan.container.add_class(cls)

    @overload
    def active_passive(self, function: F) -> F: ...
    @overload
    def active_passive(self, *, every: float | None = None, **options: Unpack[ServiceOptions]) -> Callable[[F], F]: ...
    def active_passive(
        self, function: F | None = None, *, every: float | None = None, **options: Unpack[ServiceOptions]
    ) -> F | Callable[[F], F]:
        """Declare a function that works on one instance; it may ask for the `Term`, and collaborators by type.

        A plain `def` runs in a thread of its own, and is given the `locum.blocking.Term`.

        Args:
            function: The body.
            every: Call it every so many seconds while active; without it, once a term.
            options: See `ServiceOptions`.
        """
        return self._function(
            "active_passive", function, options, rhythm=None if every is None else Rhythm(every=every)
        )

    @overload
    def job(self, function: F) -> F: ...
    @overload
    def job(self, **options: Unpack[JobOptions]) -> Callable[[F], F]: ...
    def job(self, function: F | None = None, **options: Unpack[JobOptions]) -> F | Callable[[F], F]:
        """Declare a job that runs when somebody asks for it (`host.jobs.run_now`); it may ask for the `Run`.

        Args:
            function: The body, an `async def`.
            options: See `JobOptions`.
        """
        take = self._job(None, options)
        return take if function is None else take(function)

    def schedule(
        self,
        *,
        cron: str | None = None,
        tz: str = "UTC",
        gap: Gap = "after",
        every: float | None = None,
        at: datetime | None = None,
        **options: Unpack[JobOptions],
    ) -> Callable[[F], F]:
        """Declare a job that fires by a schedule: each of its times once, on whichever instance is there.

        One of `cron`, `every` and `at` says when.

        Args:
            cron: Five fields as in Vixie's cron, or six with the seconds first; `H` is a place that the name decides.
            tz: The zone of the IANA database whose walls `cron` is about.
            gap: What becomes of a time that the walls skip: it comes `after` the gap, or is `skip`ped.
            every: Seconds from one time to the next, on a grid that lies where it is.
            at: Once, at this instant.
            options: See `JobOptions`.
        """
        from locum.jobs.declaring import trigger_of

        return self._job(lambda name: trigger_of(name, cron=cron, tz=tz, gap=gap, every=every, at=at), options)

    @property
    def jobs(self) -> Jobs:
        """The jobs of this host, to be asked for runs, paused and looked at, from any process that has the host."""
        from locum.jobs.job import Roster
        from locum.jobs.jobs import Jobs

        return Jobs(self.plan.roster or Roster(), lambda: self.settings.job_store_url, namespace=self.name)

    @overload
    def background(self, function: F) -> F: ...
    @overload
    def background(self, **options: Unpack[ServiceOptions]) -> Callable[[F], F]: ...
    def background(self, function: F | None = None, **options: Unpack[ServiceOptions]) -> F | Callable[[F], F]:
        """Declare a function that runs on every instance; it may ask for `Stopping`, and collaborators by type.

        A plain `def` runs in a thread of its own, and is given the `locum.blocking.Stopping`.

        Args:
            function: The body.
            options: See `ServiceOptions`.
        """
        return self._function("background", function, options)

    def periodic(
        self,
        *,
        every: float,
        jitter: float = 0.0,
        overlap: Overlap = "coalesce",
        most: int = 10,
        limit: float | None = None,
        active_passive: bool = False,
        **options: Unpack[ServiceOptions],
    ) -> Callable[[F], F]:
        """Declare a function that is called every so many seconds, without drift, on every instance or the active one.

        Args:
            every: Seconds from one turn to the next.
            jitter: Seconds that a turn may come late, by chance.
            overlap: What becomes of turns that are due while one runs: `coalesce` into one at once after it, `skip`
                them, or let them `overlap`.
            most: How many turns may overlap.
            limit: Seconds that a turn may take.
            active_passive: Work on one instance, under a `Term`; otherwise on all.
            options: See `ServiceOptions`.
        """
        rhythm = Rhythm(every=every, jitter=jitter, overlap=overlap, most=most, limit=limit)
        return self._function(_kind(active_passive), None, options, rhythm=rhythm)

    def consumer(
        self, source: Any, *, workers: int = 1, active_passive: bool = False, **options: Unpack[ServiceOptions]
    ) -> Callable[[F], F]:
        """Declare a function that handles what comes from a source; its first parameter is the message.

        Args:
            source: An asynchronous iterator with `ack` and `nack` (`Source`), or of messages that have them; a function
                that gives one, called anew for each run, which may ask for collaborators; or a collaborator's type.
            workers: How many messages are handled at once; no more than that are taken from the source.
            active_passive: Work on one instance, under a `Term`; otherwise on all.
            options: See `ServiceOptions`.
        """
        return self._function(_kind(active_passive), None, options, source=source, workers=workers)

    def sharded(
        self,
        *,
        shards: int = 64,
        capacity: float = 1.0,
        join_delay: float = 1.0,
        rebalance_delay: float = 0.0,
        **options: Unpack[ServiceOptions],
    ) -> Callable[[F], F]:
        """Declare a function that runs once for each shard, on the one instance that owns it; it asks for the `Shard`.

        Args:
            shards: How many there are; for good, since a key's shard depends on it.
            capacity: What this instance takes, in proportion to the others.
            join_delay: Seconds for which an instance that joins must have been there before shards move to it.
            rebalance_delay: Seconds for which the shards of an instance that went wait for its name to come back.
            options: See `ServiceOptions`.
        """
        sharding = Sharding(of=shards, capacity=capacity, join_delay=join_delay, rebalance_delay=rebalance_delay)
        return self._function("sharded", None, options, sharding=sharding)

    def queue(
        self, *, size: int = 100, workers: int = 1, active_passive: bool = False, **options: Unpack[ServiceOptions]
    ) -> Callable[[Callable[..., object]], WorkQueue[Any]]:
        """Declare a function that does work items, one after another; it becomes the `WorkQueue` that takes them in.

        Args:
            size: How many items may wait; whoever puts in more waits itself.
            workers: How many items are done at once.
            active_passive: Do them while this instance is active only; until then they wait.
            options: See `ServiceOptions`.
        """

        def take(body: Callable[..., object]) -> WorkQueue[Any]:
            queue: WorkQueue[Any] = WorkQueue(options.get("name") or _name_of(body), size)
            self._function(_kind(active_passive), body, options, source=queue, workers=workers)
            return queue

        return take

    def on(self, kind: type[Event]) -> Callable[[H], H]:
        """Call the decorated function (plain or async) with every event of that type."""
        if not (inspect.isclass(kind) and issubclass(kind, Event)):
            raise ConfigurationError(f"{kind!r} is no type of event: use one of locum's, such as TermStarted")

        def take(handler: H) -> H:
            self.plan.handlers.append((kind, handler))
            return handler

        return take

    def critical(self, service: str, *, within: float) -> None:
        """Take the instance for hung if this service's body, while it works, does not beat every so many seconds.

        `every` and `sleep` of what a body is given beat by themselves; a long step calls `beat()`.

        Args:
            service: Its name.
            within: Seconds from one beat to the next, at most.
        """
        if not 0 < within < float("inf"):
            raise ConfigurationError(f"{service}: within={within!r} must be a number of seconds above 0")
        self.plan.critical[service] = within

    def run(self, *, embedded: bool = False) -> None:
        """Run until told to stop, under a keeper: this process becomes the keeper, and starts itself as its worker.

        Does not return; the exit codes are those of `locum.exit_codes`.

        Args:
            embedded: Run in this one process, whose keeper is a thread. Work whose time is up is then cancelled, and
                nobody ends what ignores that, unless the host's `enforcement` is `kill`.
        """
        if embedded:
            from locum.host.embedded import run_embedded

            run_embedded(self.plan)
        if self.plan.enforcement == "cancel":
            raise ConfigurationError(
                f"{self.name} has enforcement='cancel', but under a keeper work is ended by 'kill': leave it out, or"
                " call run(embedded=True)"
            )
        end = WorkerEnd.take()
        if end is None:
            if len(sys.orig_argv) < 2:
                raise ConfigurationError("host.run() needs a program that can be started again: call it from a file")
            sys.stdout.flush()
            sys.stderr.flush()
            os.execv(sys.executable, keeper_command([sys.executable, *sys.orig_argv[1:]]))  # noqa: S606 - it is ourselves
        from locum.host.kept import work  # after the keeper: whoever only declares needs none of it

        work(self.plan, end)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Run inside a web application, from its start to its stop: `FastAPI(lifespan=host.lifespan)`.

        Its keeper is a thread, as with `run(embedded=True)`.

        Raises:
            ConfigurationError: What was declared cannot run.
            StartError: A service did not start.
        """
        del app
        from locum.host.embedded import running

        async with running(self.plan):
            yield

    def _function(self, kind: Kind, function: F | None, options: ServiceOptions, **how: Any) -> F | Any:
        def take(body: F) -> F:
            check_body(body)
            self._declare(kind, body, {"name": _name_of(body), **options}, **how)
            return body

        return take if function is None else take(function)

    def _job(self, trigger: Callable[[str], Trigger] | None, options: JobOptions) -> Callable[[F], F]:
        from locum.jobs.declaring import job_of

        def take(body: F) -> F:
            check_body(body)
            self.plan.take_jobs().declare(job_of(options.get("name") or _name_of(body), body, trigger, options))
            return body

        return take

    def _declare(self, kind: Kind, what: Any, options: Any, **how: Any) -> None:
        if "restart" in options:
            options = {**options, "restart": Restart.of(options["restart"])}
        self.plan.declare(Declaration(kind=kind, what=what, **options, **how))


def _kind(active_passive: bool) -> Kind:
    return "active_passive" if active_passive else "background"


def _name_of(body: object) -> str:
    return str(getattr(body, "__name__", body))


def keeper_command(worker: list[str]) -> list[str]:
    """The command line of a keeper for a worker's command line. `-P`: the keeper must not import the user's modules."""
    return [sys.executable, "-P", "-m", "locum.keeper", "--", *worker]


def worker_command(app: str) -> list[str]:
    """The command line of a worker of the host that `MODULE:HOST` names, for its keeper to start."""
    return [sys.executable, "-P", "-m", "locum.host.worker", app]


def instance_command(app: str) -> list[str]:
    """The command line of an instance of that host: a keeper, and the worker that it starts."""
    return keeper_command(worker_command(app))
