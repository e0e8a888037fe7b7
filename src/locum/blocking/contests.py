"""What is waited for and held: locks, shares and leads, for code that blocks."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from locum.blocking.contexts import Held, Share, Term
from locum.blocking.portal import entered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

    from locum.blocking.portal import Portal
    from locum.coordination import barrier, contest, election, lock, shared


__all__ = ["Barrier", "Contest", "Election", "Lock", "ReadWriteLock", "Shared"]

F = TypeVar("F")


class Contest(Generic[F]):
    """What is waited for and held, for code that blocks: as a context, or by its methods."""

    def __init__(self, handle: contest.Contest[Any], portal: Portal, facade: Callable[[Any], F]) -> None:
        self._handle, self._portal, self._facade = handle, portal, facade
        self._entered: dict[threading.Thread, list[AbstractContextManager[F]]] = {}

    @contextmanager
    def hold(self, *, timeout: float | None = None, stop_timeout: float | None = None) -> Iterator[F]:
        """Wait for it and hold it for the length of the block.

        If somebody asks for its end, `stopping` is set and its pauses return: leave the block then.

        Args:
            timeout: Seconds to wait in line, `0` asks once; as was wished if it is not given.
            stop_timeout: Seconds that the block may take to end when somebody asks for it; then it counts as ended.

        Raises:
            WaitTimeoutError: It was not ours in time; no place in line is left behind.
        """
        holding = self._handle.hold(timeout=timeout, stop_timeout=stop_timeout, by=threading.current_thread())
        with entered(holding, self._portal.run) as handle:
            yield self._facade(handle)

    @contextmanager
    def try_hold(self) -> Iterator[F | None]:
        """Ask once, and hold it for the length of the block if it is free; otherwise the block has `None`."""
        with entered(self._handle.try_hold(by=threading.current_thread()), self._portal.run) as handle:
            yield None if handle is None else self._facade(handle)

    def __enter__(self) -> F:
        entering = self.hold()
        hold = entering.__enter__()
        self._entered.setdefault(threading.current_thread(), []).append(entering)
        return hold

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        thread = threading.current_thread()
        entered = self._entered[thread].pop()
        if not self._entered[thread]:
            del self._entered[thread]
        return entered.__exit__(kind, error, trace)


class Lock(Contest[Held]):
    """One holder per name, for code that blocks: `with coordinator.lock("invoice-42") as held`.

    Promises: two holders never at once, turns in the order of coming, no two holds with one token.
    Assumes: the writes that matter carry the token (`held.transaction`, `held.fence`).
    On loss: nobody can cancel a thread; `held.check()`, `sleep`, `every`, `set` and `transaction` raise, `held.ended`
    says why, and `on_lost` is called once, in the coordinator's thread.
    """

    _handle: lock.Lock

    def __init__(self, handle: lock.Lock, portal: Portal) -> None:
        super().__init__(handle, portal, Held)

    @property
    def name(self) -> str:
        """The name of the lock."""
        return self._handle.name

    def value(self) -> bytes | None:
        """The value that goes with the lock, as the store has it at this moment."""
        return self._portal.run(self._handle.value())


class Shared(Contest[Share]):
    """A read or a permit, for code that blocks: waited for and held together with others."""

    def __init__(self, handle: shared.Shared, portal: Portal) -> None:
        super().__init__(handle, portal, Share)


class ReadWriteLock:
    """One writer, or many readers, for code that blocks; see `locum.coordination.shared.ReadWriteLock`."""

    def __init__(self, handle: shared.ReadWriteLock, portal: Portal) -> None:
        self._handle, self._portal = handle, portal

    def read(self) -> Shared:
        """To be held together with others who read."""
        return Shared(self._handle.read(), self._portal)

    def write(self) -> Lock:
        """To be held alone."""
        return Lock(self._handle.write(), self._portal)


class Barrier:
    """So many parties wait for each other, for code that blocks; see `locum.coordination.barrier.Barrier`."""

    def __init__(self, handle: barrier.Barrier, portal: Portal) -> None:
        self._handle, self._portal = handle, portal

    def wait(self, *, timeout: float | None = None) -> None:
        """Arrive, and wait until all are there.

        Raises:
            WaitTimeoutError: They were not there in time; nobody waits for this party any more.
            SessionLostError: The session ended meanwhile.
        """
        self._portal.run(self._handle.wait(timeout=timeout))


class Election:
    """One leader per name, for code that blocks.

    Promises: no two terms share a token, and tokens only grow.
    Assumes: the writes that matter carry the token, and an old one is refused.
    On loss: nobody can cancel a thread; `sleep`, `every`, `check` and `transaction` of the term raise `TermEndedError`.
    """

    def __init__(self, handle: election.Election, portal: Portal) -> None:
        self._handle, self._portal = handle, portal

    @property
    def name(self) -> str:
        """The name of the election."""
        return self._handle.name

    @contextmanager
    def lead(self, *, timeout: float | None = None, stop_timeout: float = 30.0) -> Iterator[Term]:
        """Wait for the lead and hold it for the length of the block.

        If somebody asks for its end, `stopping` is set and the term's pauses return: leave the block then.

        Args:
            timeout: Seconds to wait in line; `None` waits for ever.
            stop_timeout: Seconds that the block may take to end when somebody asks for it; then it counts as ended.

        Raises:
            WaitTimeoutError: The lead was not ours in time; no place in line is left behind.
        """
        leading = self._handle.lead(timeout=timeout, stop_timeout=stop_timeout)
        with entered(leading, self._portal.run) as handle:
            yield Term(handle)

    def proclaim(self, value: bytes | None) -> None:
        """Set the value in office of the term that is held here: others `watch` it, and it ends with the term."""
        self._portal.run(self._handle.proclaim(value))

    def leader(self) -> election.Office | None:
        """Who leads, as the grant says at this moment; `None` if it is vacant."""
        return self._portal.run(self._handle.leader())

    def watch(self) -> Iterator[election.Office | None]:
        """Who leads and what it has proclaimed: at once, and again with each change; the last state always comes."""
        return self._portal.each(self._handle.watch())

    def transfer(self, *, to: str) -> None:
        """End the term that is held here, and leave the lead to an instance that waits in line.

        Raises:
            TransferRefusedError: Nothing is held here, its end is asked for already, or that instance does not wait.
        """
        self._portal.run(self._handle.transfer(to=to))

    def pause(self, why: str, *, by: str = "") -> None:
        """Forbid that it is taken over by itself: whoever leads goes on, and a transfer is carried out."""
        self._portal.run(self._handle.pause(why, by=by))

    def resume(self) -> None:
        """Allow it again."""
        self._portal.run(self._handle.resume())
