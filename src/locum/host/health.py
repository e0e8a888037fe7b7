"""Whether a host does what it is there for: what its services show, and how that is judged. Without I/O.

*Live* means that a restart would not help: the loop turns, and every critical service beats. *Ready* means that it
serves in its role: everything is started, nothing is in trouble, and no stop has begun. A store that is away makes no
live instance dead and no ready one unready, or an outage would restart and withdraw all of them at once; it only ends
the claim to be active or to stand by.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from locum.clock import nanoseconds, seconds
from locum.context import Context
from locum.coordination.hold import Hold
from locum.service import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from locum.clock import Clock

__all__ = ["Health", "State"]

_WORKING: Final = (Mode.RUNNING, Mode.ACTIVE)
_FINE: Final = (Mode.RUNNING, Mode.ACTIVE, Mode.PASSIVE, Mode.COMPLETED)


class State(enum.Enum):
    """How far a host is."""

    WAITING = "waiting for the store"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


@dataclass(slots=True)
class _Service:
    """What is known of one service; instants on the boot clock (ns)."""

    has_roles: bool
    within: int | None
    mode: Mode = Mode.STARTING
    token: int | None = None
    since: int = 0
    since_wall: str = ""
    context: Context | None = None
    restarts: int = 0
    error: str = ""
    warning: str = ""

    @property
    def beaten_at(self) -> int:
        """The last sign of its body."""
        return max(self.since, self.context.beaten_at if self.context is not None else 0)

    @property
    def is_active(self) -> bool:
        """Whether it holds a term, or a permit, at this very moment."""
        return self.mode in (Mode.ACTIVE, Mode.COMPLETED) and isinstance(self.context, Hold) and self.context.is_current


class Health:
    """What a host's services do, and whether that is well.

    Args:
        host: The host's name.
        instance: The instance's name.
        clock: Dates what is shown.
        services: The names of its services; whether each is active on one instance only.
        critical: Services whose bodies must beat at least every so many seconds while they work.
        changed: Called when something is shown.
    """

    def __init__(
        self,
        host: str,
        instance: str,
        *,
        clock: Clock,
        services: Mapping[str, bool],
        critical: Mapping[str, float],
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._host, self._instance, self._clock, self._changed = host, instance, clock, changed
        self._services = {
            name: _Service(has_roles, nanoseconds(critical[name]) if name in critical else None)
            for name, has_roles in services.items()
        }
        self.state = State.WAITING
        self._store_is_lost = False
        self._rejected = ""
        self._at_next_start: list[str] = []

    # -- what is shown

    def enter(self, state: State) -> None:
        """The host is so far now; a stop that has begun is not taken back."""
        if self.state is not State.STOPPING:
            self.state = state
            self._changed()

    def show(self, service: str, mode: Mode, token: int | None = None) -> None:
        """A service does this now."""
        one = self._services[service]
        one.mode, one.token = mode, token
        one.since, one.since_wall = self._clock.now(), self._clock.wall().isoformat()
        self._changed()

    def began(self, given: Collection[object]) -> None:
        """A body was called with these; a context among them tells whose it is, and beats from now on."""
        for context in given:
            if isinstance(context, Context) and context.name in self._services:
                self._services[context.name].context = context

    def failed(self, service: str, error: BaseException, *, again: bool) -> None:
        """A body raised, and is run again or not."""
        one = self._services[service]
        one.error = f"{type(error).__name__}: {error}"
        one.restarts += again
        self._changed()

    def warn(self, service: str, of: str) -> None:
        """A service works, and this is to be known of it all the same; empty for nothing."""
        self._services[service].warning = of
        self._changed()

    def lost_store(self, *, lost: bool) -> None:
        """The store does not answer, or does again."""
        self._store_is_lost = lost
        self._changed()

    def settings_read(self, rejected: str, at_next_start: list[str]) -> None:
        """The settings were read again: why they were not taken over, if so, and which are not heeded yet."""
        self._rejected, self._at_next_start = rejected, at_next_start
        self._changed()

    # -- how it is judged

    @property
    def is_live(self) -> bool:
        """Whether a restart would not help."""
        return not self.overdue()

    @property
    def is_ready(self) -> bool:
        """Whether it serves in its role."""
        return not self.unready()

    def overdue(self) -> list[str]:
        """Every critical service whose body does not beat, a sentence each."""
        return [
            f"{name} has not beaten for {seconds(self._age(one)):.1f} s, and {seconds(one.within):g} s are its limit"
            for name, one in self._services.items()
            if one.within is not None
            and (one.mode is Mode.STUCK or (one.mode in _WORKING and self._age(one) > one.within))
        ]

    def unready(self) -> list[str]:
        """Every reason why it does not serve in its role, a sentence each."""
        reasons = [] if self.state is State.READY else [f"{self._instance} is {self.state.value}"]
        reasons += [f"{name} is {one.mode.value}" for name, one in self._services.items() if one.mode not in _FINE]
        return [*reasons, *self.overdue()]

    def roles(self) -> list[str]:
        """The services that are active on one instance only."""
        return [name for name, one in self._services.items() if one.has_roles]

    def is_active(self, service: str) -> bool:
        """Whether this instance is active in a service at this very moment."""
        return self._services[service].is_active

    def is_standby(self, service: str) -> bool:
        """Whether it stands by and could take over: it is ready, and the store answers."""
        return self._services[service].mode is Mode.PASSIVE and self.is_ready and not self._store_is_lost

    # -- how it is told

    def picture(self) -> dict[str, Any]:
        """All of it, as JSON can carry it; durations in seconds."""
        return {
            "host": self._host,
            "instance": self._instance,
            "state": self.state.value,
            "live": self.is_live,
            "ready": self.is_ready,
            "reasons": self.unready(),
            "store": "lost" if self._store_is_lost else "awaited" if self.state is State.WAITING else "there",
            "settings": {"rejected": self._rejected or None, "at_next_start": self._at_next_start},
            "services": {name: self._picture_of(one) for name, one in self._services.items()},
        }

    def status(self) -> str:
        """What it does, in one line."""
        return f"{self._status()}; its newest settings were not taken over" if self._rejected else self._status()

    def _status(self) -> str:
        if self.state is not State.READY:
            return str(self.state.value)
        late = self.overdue()
        if late:
            return "; ".join(late)
        roles = self.roles()
        if len(roles) == 1:
            return self._words(self._services[roles[0]])
        return "; ".join(f"{name} {self._words(self._services[name])}" for name in roles or self._services)

    def _words(self, one: _Service) -> str:
        told = one.mode.value if one.token is None else f"{one.mode.value} token={one.token}"
        return f"{told} ({one.warning})" if one.warning else told

    def _picture_of(self, one: _Service) -> dict[str, Any]:
        role = ("active" if one.is_active else "passive") if one.has_roles else None
        return {
            "state": one.mode.value,
            "since": one.since_wall or None,
            "role": role,
            "token": one.token,
            "last_beat": round(seconds(self._age(one)), 3) if one.since else None,
            "restarts": one.restarts,
            "error": one.error or None,
            "warning": one.warning or None,
        }

    def _age(self, one: _Service) -> int:
        return self._clock.now() - one.beaten_at
