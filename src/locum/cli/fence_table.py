"""`locum fence-table`: makes the table that a fence keeps in the user's own database, or prints its statement."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Final

import click

from locum import exit_codes
from locum.coordination.fence import fence_of, table_of
from locum.errors import ConfigurationError, UnsupportedError
from locum.scopes import run

if TYPE_CHECKING:
    import sqlalchemy

__all__ = ["command"]

_DRIVERS: Final = {"postgresql": ("psycopg", "asyncpg"), "mysql": ("pymysql", "aiomysql")}
"""For URLs that name no driver: the first that is installed."""


@click.command("fence-table", short_help="Make a fence's table, or print its statement.")
@click.argument("where", metavar="URL|DIALECT")
def command(where: str) -> int:
    """Make the table locum_fence in the database URL, as SQLAlchemy writes it, unless it is there.

    With a DIALECT (sqlite, postgresql, mysql) print the statement that makes it, for whoever makes tables by hand.
    """
    if "://" not in where:
        try:
            click.echo(f"{table_of(where)};")
        except UnsupportedError as error:
            raise click.UsageError(str(error)) from error
        return exit_codes.CLEAN
    url = _url(where)
    click.echo(f"{run(_make(url))} has the table locum_fence.")
    return exit_codes.CLEAN


def _url(text: str) -> sqlalchemy.URL:
    try:
        import sqlalchemy
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "to make a table by its URL, SQLAlchemy is needed: pip install 'locum[sqlalchemy]', or print the statement"
            " by `locum fence-table DIALECT`"
        ) from error
    try:
        url = sqlalchemy.make_url(text)
    except sqlalchemy.exc.ArgumentError as error:
        raise click.UsageError(f"this is no URL of a database: {error}") from error
    backend = url.get_backend_name().replace("mariadb", "mysql")
    there = [name for name in _DRIVERS.get(backend, ()) if importlib.util.find_spec(name)]
    return url.set(drivername=f"{backend}+{there[0]}") if there and "+" not in url.drivername else url


async def _make(url: sqlalchemy.URL) -> str:
    import sqlalchemy
    from sqlalchemy.ext.asyncio import create_async_engine

    shown = url.render_as_string(hide_password=True)
    try:
        engine: Any = create_async_engine(url) if url.get_dialect().is_async else sqlalchemy.create_engine(url)
    except (sqlalchemy.exc.ArgumentError, ModuleNotFoundError) as error:
        raise ConfigurationError(f"{shown} cannot be reached: {error}; name another driver in the URL") from error
    try:
        fence = fence_of(engine)
        await fence.make()
        return fence.database
    except (sqlalchemy.exc.SQLAlchemyError, OSError) as error:
        why = getattr(error, "orig", None) or error
        raise ConfigurationError(f"{shown} has not got the table: {why}") from error
    finally:
        closing = engine.dispose()
        if closing is not None:
            await closing
