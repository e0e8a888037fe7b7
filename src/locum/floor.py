"""The namespace's floor: no token at or below it is ever given out again (R20).

Lifted by whoever knows of a token that the grants may have forgotten: because a fence has seen it, because the grant
was collected, or because the store is not the one that gave it out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from locum.errors import ConflictError, CorruptRecordError
from locum.store import ABSENT

if TYPE_CHECKING:
    from locum.store import Record, Store

__all__ = ["Floor"]

_KEY: Final = "floor"


@dataclass(frozen=True, slots=True)
class Floor:
    """The namespace's floor.

    Attributes:
        token: No new token is at or below it.
        revision: The revision to compare with; 0 if there is no record yet.
    """

    token: int = 0
    revision: int = field(default=0, compare=False)

    @classmethod
    def of(cls, record: Record | None) -> Floor:
        """The floor that a record holds."""
        if record is None:
            return cls()
        try:
            return cls(int(record.value), record.revision)
        except ValueError as error:
            raise CorruptRecordError(record.key, "it is no number") from error

    @classmethod
    async def read(cls, store: Store) -> Floor:
        """The floor as it stands."""
        return cls.of(await store.read(_KEY))

    @classmethod
    async def lift(cls, store: Store, token: int) -> None:
        """Let no new token be at or below this one."""
        while True:
            floor = await cls.read(store)
            if floor.token >= token:
                return
            try:
                await store.write(_KEY, str(token).encode(), expect=floor.revision or ABSENT)
            except ConflictError:
                continue  # somebody else has just lifted it, perhaps as high
            return
