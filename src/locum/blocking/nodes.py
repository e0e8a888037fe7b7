"""Nodes, for code that blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from locum.blocking.portal import Portal
    from locum.coordination import nodes


__all__ = ["Nodes"]


class Nodes:
    """Small values that are read, written by version and watched, for code that blocks.

    See `locum.coordination.nodes.Nodes`.
    """

    def __init__(self, handle: nodes.Nodes, portal: Portal) -> None:
        self._handle, self._portal = handle, portal

    def create(
        self, path: str, value: bytes = b"", *, session_bound: bool = False, numbered: bool = False
    ) -> nodes.Node:
        """Make a node that is not there yet.

        Raises:
            ConflictError: It is there already; carries it.
            SessionLostError: The session that it was to live with has ended; it is not there.
        """
        return self._portal.run(self._handle.create(path, value, session_bound=session_bound, numbered=numbered))

    def get(self, path: str) -> nodes.Node | None:
        """The latest of a node; `None` if it is not there."""
        return self._portal.run(self._handle.get(path))

    def set(self, path: str, value: bytes, *, version: int | None = None) -> nodes.Node:
        """Write a node, by version if one is given; otherwise it is made if it is not there.

        Raises:
            ConflictError: It has another version, or is not there; nothing was changed.
        """
        return self._portal.run(self._handle.set(path, value, version=version))

    def delete(self, path: str, *, version: int | None = None) -> None:
        """Delete a node, by version if one is given.

        Raises:
            ConflictError: It has another version; nothing was changed.
        """
        self._portal.run(self._handle.delete(path, version=version))

    def list(self, folder: str = "") -> tuple[nodes.Node, ...]:
        """The nodes below a folder, in the order of their creation; all without one."""
        return self._portal.run(self._handle.list(folder))

    def watch(self, path: str) -> Iterator[nodes.Node | None]:
        """A node: at once, and again after each change; the last state always comes."""
        return self._portal.each(self._handle.watch(path))

    def watch_list(self, folder: str = "") -> Iterator[tuple[nodes.Node, ...]]:
        """The nodes below a folder, just as `watch` shows one."""
        return self._portal.each(self._handle.watch_list(folder))
