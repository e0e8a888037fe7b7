"""The four ways in which the active instance is hurt."""

from __future__ import annotations

import select
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from locum.demo.plan import Kind

if TYPE_CHECKING:
    from locum.clock import Clock
    from locum.demo.cluster import Victim
    from locum.demo.lineup import Lineup

__all__ = ["Injury", "inflict", "thaw"]


@dataclass(frozen=True, slots=True)
class Injury:
    """Something that was done to the active instance.

    Attributes:
        kind: What.
        at: The instant right after the signal, or right before the request was written (boot clock, ns).
        instance: The name of the instance.
        token: Its token.
    """

    kind: Kind
    at: int
    instance: str
    token: int

    def __str__(self) -> str:
        match self.kind:
            case Kind.WORKER_KILLED:
                return f"{self.instance}: its worker gets SIGKILL."
            case Kind.INSTANCE_KILLED:
                return f"{self.instance}: all its processes get SIGKILL."
            case Kind.FROZEN:
                return f"{self.instance}: all its processes get SIGSTOP."
            case Kind.RESIGNED:
                return f"{self.instance} is asked to resign."


async def inflict(kind: Kind, victim: Victim, *, clock: Clock, lineup: Lineup) -> Injury:
    """Hurt the active instance.

    Raises:
        ProcessLookupError: It has died by itself.
        StoreError: The request could not be written.
    """
    match kind:
        case Kind.WORKER_KILLED:
            signal.pidfd_send_signal(victim.worker_fd, signal.SIGKILL)
        case Kind.INSTANCE_KILLED:
            _signal_all(victim, signal.SIGKILL)
        case Kind.FROZEN:
            _signal_all(victim, signal.SIGSTOP)
        case Kind.RESIGNED:
            at = clock.now()  # before: the answer may come to us after the successor has begun
            await lineup.ask_to_resign(victim.token)
            return Injury(kind, at, victim.instance, victim.token)
    return Injury(kind, clock.now(), victim.instance, victim.token)


def thaw(victim: Victim) -> list[str]:
    """Let a frozen instance go on.

    Returns:
        Which of its processes still lived: usually none, since the kernel ended them at 85 % of the TTL.
    """
    alive = []
    for name, fd in (("keeper", victim.keeper_fd), ("worker", victim.worker_fd)):
        # a descriptor that can be read says that its process has ended, even if nobody has reaped it yet
        if not select.select([fd], [], [], 0)[0]:
            signal.pidfd_send_signal(fd, signal.SIGCONT)
            alive.append(name)
    try:
        signal.pidfd_send_signal(victim.guardian_fd, signal.SIGCONT)  # it has only to reap them, and to leave
    except ProcessLookupError:
        pass
    return alive


def _signal_all(victim: Victim, number: int) -> None:
    """From above: each would otherwise see what happens to the one below, if only for a moment."""
    signal.pidfd_send_signal(victim.guardian_fd, number)
    for fd in (victim.keeper_fd, victim.worker_fd):
        try:
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            pass  # dead already, with the one above
