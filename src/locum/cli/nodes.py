"""`locum nodes`: read, write and watch the small values of a namespace by hand."""

from __future__ import annotations

import asyncio
import functools
import json
import signal
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

from locum import exit_codes
from locum.cli.looking import look_again, looking_at, which_store
from locum.cli.words import NOTHING, one_line
from locum.clock import Clock
from locum.coordination.nodes import Node, Nodes, key_of
from locum.errors import ConfigurationError
from locum.scopes import Scope, finish, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from locum.cli.looking import Place

__all__ = ["command"]


@click.group("nodes", short_help="Read, write and watch small values.")
def command() -> None:
    """Read, write and watch the nodes of a namespace: small values under paths such as config/limits."""


def _possible(_context: click.Context, parameter: click.Parameter, path: str) -> str:
    """Refuse what cannot be a path, as wrong use of the command; a folder may be left out."""
    try:
        if path or parameter.required:
            key_of(path)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    return path


_path = click.argument("path", callback=_possible)
_with_version = click.option(
    "--version", metavar="N", type=click.IntRange(min=1), help="Only if it has this version; otherwise exit with 1."
)
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@command.command("ls", short_help="List the nodes below a folder.")
@click.argument("folder", default="", callback=_possible)
@which_store
@_as_json
def ls(folder: str, place: Callable[[], Place], as_json: bool) -> int:
    """List the nodes below FOLDER, or all, in the order of their creation: version, what it is bound to, path."""
    found = _at(place(), lambda nodes: nodes.list(folder))
    if as_json:
        click.echo(json.dumps([_plain(node) for node in found], indent=2))
        return exit_codes.CLEAN
    for node in found:
        click.echo(f"{node.version}\t{'lasting' if node.lasts else 'session'}\t{node.path}")
    return exit_codes.CLEAN


@command.command("get", short_help="Print the latest value of a node.")
@_path
@which_store
@_as_json
def get(path: str, place: Callable[[], Place], as_json: bool) -> int:
    """Print the latest value of the node PATH, as it is; exit with 1 if it is not there."""
    node = _at(place(), lambda nodes: nodes.get(path))
    if node is None:
        click.echo(f"locum: there is no node {path}; `locum nodes ls` shows which there are.", err=True)
        return exit_codes.SERVICE_FAILED
    if as_json:
        click.echo(json.dumps(_plain(node), indent=2))
    else:
        click.echo(node.value, nl=False)
    return exit_codes.CLEAN


@command.command("set", short_help="Write a node, or make it.")
@_path
@click.argument("value")
@which_store
@_with_version
@_as_json
def set_(path: str, value: str, place: Callable[[], Place], version: int | None, as_json: bool) -> int:
    """Write VALUE (`-` reads it from the standard input) to the node PATH; without --version it is made if need be."""
    content = sys.stdin.buffer.read() if value == "-" else value.encode()
    node = _at(place(), lambda nodes: nodes.set(path, content, version=version))
    click.echo(json.dumps(_plain(node), indent=2) if as_json else f"{path} has version {node.version}.")
    return exit_codes.CLEAN


@command.command("rm", short_help="Delete a node.")
@_path
@which_store
@_with_version
def rm(path: str, place: Callable[[], Place], version: int | None) -> int:
    """Delete the node PATH; one that is not there is deleted already."""
    _at(place(), lambda nodes: nodes.delete(path, version=version))
    return exit_codes.CLEAN


@command.command("watch", short_help="Show a node at each change.")
@_path
@which_store
@_as_json
def watch(path: str, place: Callable[[], Place], as_json: bool) -> int:
    """Show the node PATH now and after each change, one line each, until Ctrl-C; the last state always comes."""
    try:
        run(_watch(place(), path, as_json=as_json))
    except KeyboardInterrupt:
        pass  # before the watch had taken the signal over
    return exit_codes.CLEAN


async def _watch(place: Place, path: str, *, as_json: bool) -> None:
    async def tell(nodes: Nodes) -> None:
        async for node in nodes.watch(path):
            click.echo(json.dumps(None if node is None else _plain(node)) if as_json else _line(node))

    async with _nodes_of(place) as nodes, Scope("nodes", on_error=lambda _task, _error: None) as scope:
        telling = scope.spawn(tell(nodes), name="watch")
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, telling.cancel)
        await finish(telling)
        if not telling.cancelled():
            telling.result()


def _line(node: Node | None) -> str:
    return NOTHING if node is None else f"{node.version}\t{one_line(node.value.decode(errors='replace'))}"


def _plain(node: Node) -> dict[str, object]:
    """A node for programs; a value that is no text is told in hexadecimal digits."""
    told: dict[str, object] = {"path": node.path, "version": node.version, "number": node.number}
    told["session"] = node.session
    try:
        told["value"] = node.value.decode()
    except UnicodeDecodeError:
        told["hex"] = node.value.hex()
    return told


@asynccontextmanager
async def _nodes_of(place: Place) -> AsyncIterator[Nodes]:
    async with looking_at(place, clock=Clock()) as store:
        yield Nodes(store, accept=functools.partial(look_again, place, store))


def _at(place: Place, call: Callable[[Nodes], Any]) -> Any:
    async def ask() -> Any:
        async with _nodes_of(place) as nodes:
            return await call(nodes)

    return run(ask())
