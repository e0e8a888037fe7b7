"""`locum fence-table`: the statement of each dialect, and the table in each database."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from locum import exit_codes
from locum.testing.conformance import demand_server
from tests.servers import mariadb, postgresql
from tests.unit.cli.kit import locum

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mysql", "mariadb"])
def test_the_statement_of_a_dialect_is_printed(dialect: str, tmp_path: Path) -> None:
    said = locum(tmp_path, "fence-table", dialect)
    assert (said.code, said.err) == (exit_codes.CLEAN, "")
    assert said.out.startswith("CREATE TABLE IF NOT EXISTS locum_fence (scope VARCHAR(512)")
    assert said.out.endswith(";\n")
    assert ("ENGINE=InnoDB" in said.out) is (dialect in ("mysql", "mariadb"))


def test_the_statement_for_sqlite_can_be_run(tmp_path: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(locum(tmp_path, "fence-table", "sqlite").out)
        assert connection.execute("SELECT count(*) FROM locum_fence").fetchall() == [(0,)]


@pytest.mark.parametrize("url", ["sqlite:///orders.db", "sqlite+aiosqlite:///orders.db"])
def test_the_table_is_made_in_a_file_once(url: str, tmp_path: Path) -> None:
    for _ in range(2):
        said = locum(tmp_path, "fence-table", url)
        assert (said.code, said.err) == (exit_codes.CLEAN, "")
        assert said.out == f"sqlite:{tmp_path}/orders.db has the table locum_fence.\n"
    with closing(sqlite3.connect(tmp_path / "orders.db")) as connection:
        assert connection.execute("SELECT count(*) FROM locum_fence").fetchall() == [(0,)]


@pytest.mark.parametrize("driver", ["", "+asyncpg", "+psycopg"])
def test_the_table_is_made_in_postgresql(driver: str, tmp_path: Path) -> None:
    demand_server("postgresql", postgresql.Postgresql.is_installed())
    server, name = postgresql.shared(), f"d{uuid.uuid4().hex[:12]}"
    server.run(f"CREATE DATABASE {name}")
    try:
        url = f"postgresql{driver}://owner:{server.password}@127.0.0.1:{server.port}/{name}"
        said = locum(tmp_path, "fence-table", url)
        assert (said.code, said.err) == (exit_codes.CLEAN, "")
        assert said.out.startswith(f"postgresql:{name}/")
        assert server.run("SELECT count(*) FROM locum_fence", database=name) == [(1,)]  # the row with its own name
        wrong = locum(tmp_path, "fence-table", url.replace(server.password, "wrong-secret"))
        assert wrong.code == exit_codes.BAD_CONFIGURATION
        assert "has not got the table" in wrong.err
        assert "wrong-secret" not in wrong.err
    finally:
        server.run(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+aiomysql"])
def test_the_table_is_made_in_mysql(scheme: str, tmp_path: Path) -> None:
    demand_server("mariadb", mariadb.Mariadb.is_installed())
    server, name = mariadb.shared(), f"d{uuid.uuid4().hex[:12]}"
    server.run(f"CREATE DATABASE {name}")
    try:
        url = f"{scheme}://owner:{server.password}@127.0.0.1:{server.port}/{name}"
        said = locum(tmp_path, "fence-table", url)
        assert (said.code, said.err) == (exit_codes.CLEAN, "")
        assert said.out.startswith(f"mysql:{name}/")
        assert server.run("SELECT count(*) FROM locum_fence", database=name) == [(1,)]
    finally:
        server.run(f"DROP DATABASE {name}")


def test_what_is_no_database_that_is_known_is_wrong_use(tmp_path: Path) -> None:
    said = locum(tmp_path, "fence-table", "oracle")
    assert said.code == exit_codes.USAGE
    assert "a fence in oracle is not known yet: use one of sqlite, postgresql, mysql, mariadb" in said.err
    assert locum(tmp_path, "fence-table", "oracle://here/x").code == exit_codes.BAD_CONFIGURATION
