"""A web application that is served by the active instance alone, and says so by its headers.

Promises: a request reaches the application only under a term that is current, and, if it names a term, under that one;
an answer is begun only while that term is current, and says its token.
Assumes: what the application writes is fenced by the term (`scope["locum.term"]`).
On loss: answers that were not begun are replaced by 503 with `Locum-Active: ended`.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from locum.services.gate import Gate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locum.coordination.term import Term

__all__ = ["ActiveOnly"]


class ActiveOnly(Gate):
    """An ASGI application that passes requests on while its instance is active, and answers 503 otherwise.

    Args:
        app: The application (Starlette, FastAPI, Django, ...).
    """

    @contextmanager
    def during(self, term: Term) -> Iterator[None]:
        """Serve under this term for the length of the block; enter it before the address is published."""
        self.open(term)
        try:
            yield
        finally:
            if self._term is term:
                self.close()
