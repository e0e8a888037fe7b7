"""What is going on, read again and again: for the direction and the view. The audit reads everything anew."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from locum.clock import nanoseconds
from locum.demo.audit import Trail
from locum.demo.orders import Counts, Orders
from locum.demo.trace import Row, TraceReader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from locum.clock import Clock
    from locum.demo.audit import Span
    from locum.demo.folder import Folder

__all__ = ["Watch"]

_FRESH: Final = nanoseconds(0.2)  # a body that has written no row for so long may have gone


class Watch:
    """One look after another at what the bodies write.

    Args:
        folder: Where their files are.
        clock: Tells how old a row is.
    """

    def __init__(self, folder: Folder, *, clock: Clock) -> None:
        self._clock = clock
        self._trace = TraceReader(folder.trace)
        self._terms = folder.terms
        self._terms_read = 0
        self._orders = Orders(folder.orders)
        self._orders.prepare()  # before the first instance starts
        self._trail = Trail()
        self._latest: Row | None = None
        self.instance_of: dict[int, str] = {}
        """The instance that got each token."""
        self.sentences: list[str] = []
        """What the instances said about their terms."""

    def look(self) -> None:
        """Read what is new."""
        for row in self._trace.read():
            self._trail.add(row)
            if self._latest is None or row.token >= self._latest.token:
                self._latest = row
        self._read_terms()

    @property
    def active(self) -> Row | None:
        """The last row of the body that works now; `None` if none does."""
        row = self._latest
        return row if row is not None and self._clock.now() - row.at < _FRESH else None

    @property
    def spans(self) -> Sequence[Span]:
        """The trace so far, by token."""
        return self._trail.spans

    def counts(self) -> Counts:
        """The orders so far."""
        return self._orders.counts(self._clock.now())

    def close(self) -> None:
        """Close the database."""
        self._orders.close()

    def _read_terms(self) -> None:
        if not self._terms.exists():
            return
        with self._terms.open("rb") as file:
            file.seek(self._terms_read)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._terms_read += len(whole)
        for line in whole.splitlines():
            term = json.loads(line)
            self.instance_of[term["token"]] = term["instance"]
            self.sentences.append(term["sentence"])
