"""Where it is told what has changed."""

from __future__ import annotations

import hashlib

__all__ = ["channels"]


def channels(schema: str, namespace: str) -> tuple[str, str]:
    """The channels of a schema's changes: of all namespaces, and of this one."""
    return _channel(schema), _channel(f"{schema}/{namespace}")


def _channel(name: str) -> str:
    """A name that is never too long for PostgreSQL."""
    return f"locum_{hashlib.sha256(name.encode()).hexdigest()[:32]}"
