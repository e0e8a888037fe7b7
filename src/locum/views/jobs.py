"""The runs of jobs, read from the job database alone; one that is not there is not made."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from locum.errors import MissingDriverError, StoreError
from locum.jobs.database import opened
from locum.jobs.jobs import read_live
from locum.views.runs import Runs, UnderWay

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from locum.jobs.database import JobDatabase
    from locum.jobs.jobs import Waiting

__all__ = ["RunsView"]

_MOST: Final = 50
_SQLITE: Final = "sqlite:///"


class RunsView:
    """Looks at the runs of one host, again and again.

    Args:
        url: The job database.
        namespace: The host's name.
    """

    def __init__(self, url: str, namespace: str) -> None:
        self._url, self._namespace = url, namespace
        self._stack = AsyncExitStack()
        self._database: JobDatabase | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def look(self) -> Runs | None:
        """The runs of this moment; `None` where no job was ever declared."""
        try:
            if self._database is None:
                self._database = await self._found()
            return None if self._database is None else _pictured(await read_live(self._database))
        except StoreError as error:
            await self._leave()
            return Runs(trouble=str(error))
        except MissingDriverError:
            return None  # whoever has jobs has what they need

    async def _found(self) -> JobDatabase | None:
        if not _may_be_there(self._url):
            return None
        database = await self._stack.enter_async_context(opened(self._url, namespace=self._namespace, make=False))
        if await database.transact(database.ledger.is_prepared):
            return database
        await self._leave()
        return None

    async def _leave(self) -> None:
        self._database = None
        await self._stack.aclose()


def _may_be_there(url: str) -> bool:
    return not url.startswith(_SQLITE) or Path(unquote(url.removeprefix(_SQLITE))).is_file()


def _pictured(found: list[Waiting]) -> Runs:
    going = [one for one in found if one.state != "ready"]
    return Runs(
        under_way=tuple(_under_way(one) for one in going[:_MOST]),
        more=max(0, len(going) - _MOST),
        waiting=len(found) - len(going),
    )


def _under_way(run: Waiting) -> UnderWay:
    how_far = {} if run.progress is None else asdict(run.progress)
    return UnderWay(
        job=run.job,
        id=run.id,
        fire_at=run.fire_at.isoformat(),
        state=run.state,
        attempt=run.attempt,
        instance=run.instance,
        **how_far,
    )
