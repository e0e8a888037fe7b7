"""The faults of a run: which kinds, how often, and when, as the seed decides; and their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from locum.coordination.grant import Grant, grant_key
from locum.coordination.plan import Plan, plan_key
from locum.coordination.request import Request, request_key
from locum.store import ANY
from locum.testing.simulation.divided import ORDERS, SHARDS
from locum.testing.simulation.loop import KERNEL
from locum.testing.simulation.world import NAMESPACE, SCOPE

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.testing.simulation.cluster import Cluster
    from locum.testing.simulation.instance import Instance
    from locum.testing.simulation.loop import Process

__all__ = ["Faults"]

_BEGIN: Final = 1.0


class Faults:
    """The faults that a seed has chosen.

    Args:
        world: Whom they strike.
        end: True time at which everything is healed, in nanoseconds.
    """

    def __init__(self, world: Cluster, end: int) -> None:
        self._world, self._chance, self._end = world, world.chance, end
        kinds: dict[str, Callable[[], object]] = {
            "kills": lambda: self._strikes(4, self._kill),
            "crashes": lambda: self._strikes(4, self._crash_at_a_call),
            "freezes": lambda: self._strikes(5, self._freeze_between_awaits),
            "early freezes": self._early_freezes,
            "suspends": lambda: self._strikes(3, self._suspend),
            "delays": self._delays,
            "losses": self._losses,
            "doubles": self._doubles,
            "deafness": self._deafness,
            "cuts": lambda: self._strikes(4, self._cut),
            "outages": lambda: self._strikes(2, self._outage),
            "amnesia": lambda: self._strikes(1, self._amnesia),
            "wipes": lambda: self._strikes(1, self._wipe),
            "stubborn bodies": self._stubborn,
            "failing bodies": self._failing,
            "requests": lambda: self._strikes(4, self._request),
            "stops": lambda: self._strikes(3, self._stop),
        }
        if world.shards:
            kinds["forged plans"] = lambda: self._strikes(4, self._forge)
        self.struck = 0
        """How many have struck."""
        names = [*kinds]
        self.kinds = sorted(self._chance.sample(names, self._chance.randint(1, 6)), key=names.index)
        for kind in self.kinds:
            kinds[kind]()
        world.loop.at(end, self.heal, context=KERNEL)

    def heal(self) -> None:
        """Everything works again from here on, and whoever was dead is started."""
        world = self._world
        world.history.note("healed", "world")
        network = world.network
        network.weather.delayed = network.weather.lost = network.weather.doubled = 0.0
        network.weather.deaf_to = ""
        network.cut.clear()
        network.down = False
        world.recipes = False
        world.stubborn = world.failing = 0.0
        world.on_began = lambda instance: None
        for instance in world.instances:
            if instance.machine.suspended_at is not None:
                instance.machine.resume()
            for process in instance.machine.processes:
                process.on_step = None
                if process.is_alive and process.frozen_at is not None:
                    process.thaw()
            for line in [*instance.lines, *(instance.worker.lines if instance.worker else ())]:
                line.strike = None
            instance.start()

    # -- when

    def _strikes(self, most: int, strike: Callable[[], object]) -> None:
        ttl = self._world.ttl
        for _ in range(self._chance.randint(1, most)):
            at = self._chance.randrange(round(_BEGIN * ttl), self._end)
            self._world.loop.at(at, strike, context=KERNEL)

    def _later(self, least: float, most: float, act: Callable[[], object]) -> None:
        """Do something so many TTLs later, unless all is healed by then."""
        at = self._world.loop.now + round(self._chance.uniform(least, most) * self._world.ttl)
        if at < self._end:
            self._world.loop.at(at, act, context=KERNEL)

    def _note(self, kind: str, who: str, **facts: object) -> None:
        self.struck += 1
        self._world.history.note(kind, who, **facts)

    # -- processes

    def _process(self, instance: Instance) -> Process | None:
        """The keeper or the worker, if it lives."""
        worker = instance.worker.process if instance.worker else None
        found = [one for one in (instance.keeper, worker) if one is not None and one.is_alive]
        return self._chance.choice(found) if found else None

    def _die(self, instance: Instance, process: Process | None, how: str) -> None:
        if process is None or not process.is_alive:
            return
        self._note("kill", process.name, how=how)
        if process is instance.keeper:
            instance.kill()
            self._later(0.0, 1.5, instance.start)
        else:
            process.kill()

    def _kill(self) -> None:
        victim = self._world.victim()
        self._die(victim, self._process(victim), "kill")

    def _crash_at_a_call(self) -> None:
        """Crash at one of its next calls: before it lands, as it has landed, or as its answer comes."""
        victim = self._world.victim()
        process = self._process(victim)
        if process is None:
            return
        worker = victim.worker
        lines = worker.lines if worker is not None and process is worker.process else victim.lines
        if lines:
            when = self._chance.choice(("before", "landed", "answered"))
            number = lines[-1].calls + self._chance.randint(1, 12)
            lines[-1].strike = (number, when, lambda: self._die(victim, process, f"at call {number}, {when}"))

    def _freeze_between_awaits(self) -> None:
        """Freeze it before one of its next steps: the worker, the keeper, or both; or keep the worker busy."""
        victim = self._world.victim()
        keeper, worker = victim.keeper, victim.worker.process if victim.worker else None
        if keeper is None or worker is None:
            return
        whom, stopped = self._chance.choice(
            (
                ((worker,), True),
                ((worker,), False),
                ((keeper,), True),
                ((keeper, worker), True),
                ((keeper, worker), True),
            )
        )
        first = whom[0]
        first.on_step = (
            first.steps + self._chance.randint(1, 60),
            lambda: self._freeze(victim, whom, stopped=stopped),
        )

    def _freeze(self, victim: Instance, whom: tuple[Process, ...], *, stopped: bool) -> None:
        def thaw() -> None:
            for process in whom:
                if process.is_alive and victim.machine.suspended_at is None:
                    self._world.history.note("thaw", process.name)
                    process.thaw()

        for process in whom:
            if process.is_alive:
                self._note("freeze", process.name, stopped=stopped)
                process.freeze(stopped=stopped)
        self._later(0.05, 2.0, thaw)

    def _early_freezes(self) -> None:
        """Freeze some instances before the first beats of a term."""

        def strike(instance: Instance) -> None:
            keeper, worker = instance.keeper, instance.worker
            if keeper is not None and worker is not None and instance.active is not None:
                self._freeze(instance, (keeper, worker.process), stopped=True)

        def began(name: str) -> None:
            if self._chance.random() < 0.4:
                instance = next(one for one in self._world.instances if one.name == name)
                self._later(0.0, 0.2, lambda: strike(instance))

        self._world.on_began = began

    def _suspend(self) -> None:
        machine = self._world.victim().machine
        if machine.suspended_at is not None:
            return
        self._note("suspend", machine.name)
        machine.suspend()

        def resume() -> None:
            if machine.suspended_at is not None:
                self._world.history.note("resume", machine.name)
                machine.resume()

        self._later(0.05, 2.5, resume)

    # -- the network

    def _delays(self) -> None:
        weather = self._world.network.weather
        weather.delayed = self._chance.choice((0.01, 0.05, 0.2))
        weather.delay = round(self._chance.choice((0.1, 0.3, 1.0, 2.5)) * self._world.ttl)

    def _losses(self) -> None:
        self._world.network.weather.lost = self._chance.choice((0.01, 0.05, 0.2))

    def _doubles(self) -> None:
        self._world.network.weather.doubled = self._chance.choice((0.02, 0.1))

    def _deafness(self) -> None:
        calls = (
            "open_session",
            "open_session",
            "write",
            "write",
            "beat",
            "close_session",
            "close_if_silent",
            "sessions",
        )
        self._world.network.weather.deaf_to = self._chance.choice(calls)

    def _cut(self) -> None:
        machine, network = self._world.victim().machine, self._world.network
        which = self._chance.choice(((True, True), (True, False), (False, True)))
        self._note("cut", machine.name, requests=which[0], answers=which[1])
        network.cut[machine.name] = which
        self._later(0.1, 3.0, lambda: network.cut.pop(machine.name, None))

    # -- the store

    def _outage(self) -> None:
        self._note("outage", "store")
        self._world.network.down = True
        self._later(0.05, 1.5, self._up)

    def _up(self) -> None:
        self._world.history.note("up", "store")
        self._world.network.down = False

    def _amnesia(self) -> None:
        snapshot = self._world.server.snapshot()

        def restore() -> None:
            self._note("restored", "store")
            self._world.server.restore(snapshot)
            # at once: if those who have seen less write first, they may catch up with what the others have seen, and
            # nobody notices anything; that is why a restore is followed by a reset (R25)
            self._world.server.reset()

        self._later(0.05, 4.0, restore)

    def _wipe(self) -> None:
        self._note("wiped", "store")
        self._world.server.wipe()

    # -- bodies and people

    def _stubborn(self) -> None:
        self._world.stubborn = 0.5

    def _failing(self) -> None:
        self._world.failing = 0.4

    def _stop(self) -> None:
        """A planned stop of the worker; it is started again."""
        worker = self._world.victim().worker
        if worker is not None and worker.process.is_alive:
            self._note("stop", worker.process.name)
            worker.stop()

    def _request(self) -> None:
        """Somebody asks for a planned end of the term that holds: a resignation, or a transfer."""
        server = self._world.server
        try:
            record = server.serve(None, lambda: server.read(NAMESPACE, grant_key(SCOPE)))[0]
        except Exception:
            return  # there is no store
        grant = Grant.of(record)
        if grant.holder is None:
            return
        to = self._chance.choice(("", *(instance.name for instance in self._world.instances)))
        value = Request(grant.token, "was asked to resign", to if to != grant.holder.instance else "").to_bytes()
        self._note("asked", grant.holder.instance, token=grant.token, successor=to)
        self._put(request_key(SCOPE), value)

    def _forge(self) -> None:
        """Somebody who computes nothing writes a plan: for one alone, for anybody, or for who was never there."""
        names, chance = [instance.name for instance in self._world.instances], self._chance
        counted = chance.choice((names, names[:1], ["nobody"]))
        owners = tuple(chance.choice(counted) for _ in range(SHARDS))
        plan = Plan(chance.randrange(5), owners, dict.fromkeys(counted, 1.0), "nobody")
        try:
            self._put(plan_key(ORDERS), plan.to_bytes())
        except Exception:
            return  # there is no store
        self._note("forged", "store", owners=",".join(map(str, owners)))

    def _put(self, key: str, value: bytes) -> None:
        """Write a record from outside, whatever is there."""
        server = self._world.server
        server.serve(
            None,
            lambda: server.write(
                NAMESPACE,
                key,
                value,
                expect=ANY,
                session=None,
                if_open=None,
                if_gone=None,
                if_empty=None,
                drop=None,
            ),
        )
