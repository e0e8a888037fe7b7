"""The statements on PostgreSQL as this release composes them: `python -m tests.unit.stores.sql.written --write`."""

from __future__ import annotations

import json
import sys
from itertools import chain, combinations, product
from pathlib import Path

from sqlalchemy.sql.elements import quoted_name

import locum.stores.sql
from locum.stores.sql.statement import Statement
from locum.stores.sql.statements import Statements
from locum.stores.sql.wording import FILE, PLACE

__all__ = ["PATH", "composed"]

PATH = Path(locum.stores.sql.__file__).with_name(FILE)
GUARDS = ("session", "if_open")


def composed() -> str:
    """All that is to be written down."""
    statements = Statements(quoted_name(PLACE, quote=True))
    found = {name: one for name, one in vars(statements).items() if isinstance(one, Statement)}
    for kind in ("at", "absent", "any"):
        for guards in chain.from_iterable(combinations(GUARDS, many) for many in range(len(GUARDS) + 1)):
            for gone, empty in product((False, True), repeat=2):
                more = [word for word, wanted in (("gone", gone), ("empty", empty)) if wanted]
                found[" ".join(("write", kind, *guards, *more))] = statements.write(
                    kind, guards, gone=gone, empty=empty
                )
    plain: dict[str, object] = {
        name: {"text": one.text, "names": one.names, "constants": one.constants} for name, one in sorted(found.items())
    }
    plain["definition"] = statements.definition()
    return json.dumps(plain, indent=1) + "\n"


if __name__ == "__main__":
    if "--write" not in sys.argv:
        sys.exit("usage: python -m tests.unit.stores.sql.written --write")
    PATH.write_text(composed())
