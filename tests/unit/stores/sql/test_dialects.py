"""Every step of the store is said in words that the other dialects of SQLAlchemy have; they were never run there."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from locum.stores.sql.steps import Steps
from locum.stores.sql.tables import Tables

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import CompilerElement

DIALECTS = {"mysql": mysql, "mssql": mssql, "oracle": oracle, "postgresql": postgresql}


def every_step() -> dict[str, CompilerElement]:
    """The statements of all steps, each under what was counted: the store's row, where nothing better is known."""
    steps = Steps(Tables("locum"))
    counted = steps.tables.store
    guards = steps.guards(counted, open_ids=["session", "if_open"], gone=True)
    given: dict[str, list[Any]] = {"beat": [False, True], "at": [False, True], "named": [False, True]}
    found: dict[str, CompilerElement] = {}
    for name, step in inspect.getmembers(steps, inspect.ismethod):
        if name.startswith("_") or name == "guards":
            continue
        wanted = inspect.signature(step).parameters
        fixed: dict[str, Any] = {
            one: counted for one in ("counted", "begun", "closed", "put", "turned") if one in wanted
        }
        fixed |= {"guards": guards} if "guards" in wanted else {}
        switch = next((one for one in given if one in wanted), None)
        for choice in given[switch] if switch else [None]:
            more = {switch: choice} if switch else {}
            found[f"{name}{more or ''}"] = step(**fixed, **more)
    return found


STEPS = every_step()


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_step_compiles(name: str, dialect: str) -> None:
    assert str(STEPS[name].compile(dialect=DIALECTS[dialect].dialect()))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_tables_compile(dialect: str) -> None:
    for table in Tables("locum").metadata.sorted_tables:
        made: list[Any] = [CreateTable(table), *(CreateIndex(index) for index in table.indexes)]
        assert all(str(one.compile(dialect=DIALECTS[dialect].dialect())) for one in made)


def test_no_step_is_left_out() -> None:
    assert len(STEPS) >= 25
