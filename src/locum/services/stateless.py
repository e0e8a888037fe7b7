"""Stateless services: an object of one opens, listens, runs and closes, on every instance or on a number of them."""

from __future__ import annotations

from collections.abc import Awaitable  # in a signature that is read when the program runs
from typing import TYPE_CHECKING, Any, ClassVar, Final

from locum.context import Context  # in a signature too
from locum.coordination.hold import Hold, Share
from locum.scopes import Scope, told_by_result
from locum.service import ServiceHooks, Stopping
from locum.services.life import Life, ReliableService
from locum.services.listeners import Place
from locum.services.road import Move

if TYPE_CHECKING:
    from collections.abc import Callable

    from locum.coordination.naming import Naming
    from locum.service import Surroundings
    from locum.services.life import Limits

__all__ = ["EVERYWHERE", "Permit", "Stateless", "StatelessService"]

EVERYWHERE: Final = None
"""The number of instances of a service that runs wherever its host does."""


class StatelessService(ReliableService):
    """Keeps nothing of its own; its instances open, listen, run and close.

    Each life has a new object: listeners are opened and published, `run` begins, and beside it `on_open` is called. At
    the end addresses are withdrawn, listeners closed, `run` is asked to end and awaited, and `on_close` is called.

    Attributes:
        instances: On how many instances it lives; `EVERYWHERE` (`None`) for all.
    """

    instances: ClassVar[int | None] = EVERYWHERE

    def run(self, stopping: Any) -> Awaitable[None] | None:
        """The work, if there is any beside what listens. A return is fine; an error begins a new life after a pause.

        Args:
                stopping: A `Stopping`.
        """
        del stopping
        return None


class Permit(Share, Stopping):
    """What the run of a service is given that lives on a number of instances: one of so many permits."""


class Stateless(ServiceHooks):
    """One instance of a stateless service, from one life to the next: what a runner has as its body.

    Args:
        name: The service's name.
        build: Builds an object.
        naming: Where addresses are published.
        surroundings: Its host.
        limits: How long it may take to open and to close.
        says_ready: Whether the run says when it is ready; otherwise it is once it is opened.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[], Awaitable[StatelessService]],
        *,
        naming: Naming,
        surroundings: Surroundings,
        limits: Limits,
        says_ready: bool,
    ) -> None:
        self._build, self._says_ready = build, says_ready
        self._scope = Scope(name, on_error=told_by_result)
        self._circumstances: dict[str, Any] = {
            "place": Place(service=name),
            "limits": limits,
            "surroundings": surroundings,
            "naming": naming,
            "scope": self._scope,
        }
        self._life: Life | None = None

    async def live(self, context: Context) -> None:
        """One life."""
        service = await self._build()
        run = _idle if type(service).run is StatelessService.run else service.run
        self._life = Life(service, run, **self._circumstances)

        def down() -> Move:
            return Move.LOSE if isinstance(context, Hold) and context.is_lost else Move.CLOSE

        await self._life.live(context, up=Move.OPEN, down=down, opened=None if self._says_ready else context.ready)

    async def silence(self, within: float) -> None:
        """What comes before the run is asked to end."""
        if self._life is not None:
            await self._life.silence(within)

    async def close(self) -> None:
        """Let go of everything.

        Raises:
            ExceptionGroup: What went wrong when the last life ended.
        """
        await self._scope.close()
        if self._life is not None and self._life.errors:
            raise ExceptionGroup(f"{self._life.place} did not end as it should", self._life.errors)


async def _idle() -> None:
    """The run of a service that only listens."""
