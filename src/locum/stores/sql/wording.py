"""What is said to a PostgreSQL: its statements as SQLAlchemy has composed them, written down with this package.

So whoever uses a store loads no SQLAlchemy, which takes longer and more memory than all the rest.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from locum.stores.sql.statement import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["FILE", "PLACE", "Wording", "wording"]

FILE: Final = "postgresql.json"
"""Where they are written down, beside this module."""
PLACE: Final = "schema of ours"
"""What stands there for the schema's name, as it would be quoted."""


class Wording:
    """The statements on the tables of one schema.

    Args:
        schema: Its name.
    """

    def __init__(self, schema: str) -> None:
        quoted = f'"{schema.replace(chr(34), 2 * chr(34))}"'
        text = Path(__file__).with_name(FILE).read_text("utf-8")
        written: dict[str, Any] = json.loads(text.replace(json.dumps(f'"{PLACE}"')[1:-1], json.dumps(quoted)[1:-1]))
        self._definition: list[str] = written.pop("definition")
        self._written = {
            name: Statement(one["text"], tuple(one["names"]), one["constants"]) for name, one in written.items()
        }
        self.first, self.sessions, self.open_sessions = (
            self._written[name] for name in ("first", "sessions", "open_sessions")
        )
        self.look, self.read = (self._written[name] for name in ("look", "read"))
        self.list, self.list_after = (self._written[name] for name in ("list", "list_after"))
        self.follow, self.lift, self.begin = (self._written[name] for name in ("follow", "lift", "begin"))
        self.open_session, self.beat = (self._written[name] for name in ("open_session", "beat"))
        self.close, self.close_if_silent = (self._written[name] for name in ("close", "close_if_silent"))
        self.delete, self.delete_at = (self._written[name] for name in ("delete", "delete_at"))
        generations = ("watch_generation", "next_generation", "forget_gone", "forget")
        self.watch_generation, self.next_generation, self.forget_gone, self.forget = (
            self._written[name] for name in generations
        )

    def write(self, kind: str, open_ids: Sequence[str], *, gone: bool, empty: bool) -> Statement:
        """Compare and set.

        Args:
            kind: What is expected: `at` a revision, `absent`, or `any`.
            open_ids: The parameters that name sessions which must be open.
            gone: Whether one must be closed.
            empty: Whether there is a prefix under which no record may stand.
        """
        more = [word for word, wanted in (("gone", gone), ("empty", empty)) if wanted]
        return self._written[" ".join(("write", kind, *open_ids, *more))]

    def definition(self) -> list[str]:
        """The statements that make the schema and its tables where they are not there."""
        return self._definition


@lru_cache(maxsize=8)
def wording(schema: str) -> Wording:
    """The statements of a schema, read once a process."""
    return Wording(schema)
