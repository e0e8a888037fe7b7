"""The rights of the store's page suffice, those of an onlooker for looking, and a password is said nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from locum.clock import nanoseconds
from locum.errors import ConfigurationError, StoreUnavailableError
from locum.names import random_id
from locum.testing.conformance import demand_server
from tests.servers.postgresql import Postgresql, Schema, shared
from tests.unit.cli.kit import locum
from tests.unit.stores.kit import PASSWORD, opened, use

if TYPE_CHECKING:
    from collections.abc import Iterator


PAGE = Path(__file__).parents[4] / "docs/stores/postgresql.md"


def granted(schema: str, role: str) -> list[str]:
    """What the store's page grants, to this role and in this schema."""
    found = re.findall(r"^(GRANT .* SCHEMA) locum TO billing;$", PAGE.read_text(), re.MULTILINE)
    assert len(found) == 2
    return [f"{one} {schema} TO {role}" for one in found]


@pytest.fixture
def schema() -> Iterator[Schema]:
    demand_server("postgresql", Postgresql.is_installed())
    schema = Schema(shared())
    schema.server.run(f"CREATE ROLE {schema.name} LOGIN PASSWORD '{PASSWORD}'")
    yield schema
    schema.drop()
    schema.server.run(f"DROP OWNED BY {schema.name}", f"DROP ROLE {schema.name}")


async def test_the_rights_of_the_page_suffice_where_an_owner_has_made_the_tables(schema: Schema) -> None:
    async with opened(schema.url()):
        pass
    schema.server.run(*granted(schema.name, schema.name))
    async with opened(schema.url(user=schema.name, password=PASSWORD)) as store:
        await use(store)


async def test_the_rights_of_the_page_suffice_for_tables_made_by_the_printed_statements(
    schema: Schema, tmp_path: Path
) -> None:
    """Nobody has opened the store before: its owner has made the tables by hand."""
    said = locum(tmp_path, "store", "schema", f"postgresql://db.internal/billing?schema={schema.name}")
    assert (said.code, said.err) == (0, "")
    schema.server.run(said.out, *granted(schema.name, schema.name))
    async with opened(schema.url(user=schema.name, password=PASSWORD)) as store:
        assert not (await store.sessions()).quarantined
        await use(store)


async def test_an_onlooker_may_look_and_no_more(schema: Schema, tmp_path: Path) -> None:
    async with opened(schema.url()) as store:
        await store.open_session(b"", nanoseconds(3), random_id())
    schema.server.run(
        f"GRANT USAGE ON SCHEMA {schema.name} TO {schema.name}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema.name} TO {schema.name}",
    )
    url = schema.url(user=schema.name, password=PASSWORD)
    said = locum(tmp_path, "status", "--store", url, "--namespace", "billing")
    assert (said.code, said.err) == (0, "")
    assert PASSWORD not in said.out
    async with opened(url) as store:
        with pytest.raises(StoreUnavailableError, match="too few rights"):
            await store.open_session(b"", nanoseconds(3), random_id())


async def test_a_wrong_password_is_one_sentence_without_it(schema: Schema) -> None:
    with pytest.raises(ConfigurationError, match="refuses this user or password") as refusal:
        async with opened(schema.url(user=schema.name, password=PASSWORD[::-1])):
            raise AssertionError("it must not be open")
    assert PASSWORD[::-1] not in str(refusal.value)
