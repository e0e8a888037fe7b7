"""What the scripts publish: the keys that have changed, or that anything may have."""

from __future__ import annotations

from typing import Final

__all__ = ["ANYTHING", "keys_of"]

ANYTHING: Final = frozenset({""})
"""Stands for all keys; none is called so."""


def keys_of(said: list[object]) -> frozenset[str]:
    """The keys that a message names; none, if it is no message but a sign of life."""
    kind, *_, text = said
    if kind != b"message" or not isinstance(text, bytes):
        return frozenset()
    return frozenset(text.decode().split(" "))
