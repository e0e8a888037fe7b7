"""What is written down is what would be composed, and whoever uses a store loads no SQLAlchemy."""

from __future__ import annotations

import subprocess
import sys

import pytest
from sqlalchemy.sql.elements import quoted_name

from locum.stores.sql.statements import Statements
from locum.stores.sql.wording import Wording
from tests.unit.stores.sql.written import PATH, composed


def test_what_is_written_down_is_what_this_release_composes() -> None:
    assert PATH.read_text() == composed(), "write it down anew: make sql"


@pytest.mark.parametrize("schema", ["locum", "Billing", 'a"b', "user"])
def test_a_schema_is_always_named_in_quotes(schema: str) -> None:
    written, asked = Wording(schema), Statements(quoted_name(schema, quote=True))
    assert written.look == asked.look
    guards = {"gone": True, "empty": True}
    assert written.write("at", ["session"], **guards) == asked.write("at", ["session"], **guards)
    assert written.definition() == asked.definition()


def test_who_uses_a_store_loads_no_sqlalchemy() -> None:
    code = (
        "import sys, locum.stores.sql.store as store; store.load();"
        "from locum.stores.sql.wording import wording; wording('locum').beat;"
        "assert 'asyncpg' in sys.modules; print('sqlalchemy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
