"""The statements on changes: one counter for all of a file, and a ring of what changed lately."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

__all__ = ["EVERYWHERE", "count", "since"]

EVERYWHERE: Final = ""
"""Stands for all namespaces; no namespace is called so."""

_RING: Final = 4096  # changes that a wake-up can still name


def count(db: sqlite3.Connection, namespace: str, key: str) -> int:
    """Count a change of a key.

    Returns:
        The new revision.
    """
    (revision,) = db.execute("UPDATE locum_store SET revision = revision + 1 RETURNING revision").fetchone()
    db.execute("INSERT INTO locum_changes VALUES (?, ?, ?)", (revision, namespace, key))
    if revision % (_RING // 16) == 0:
        db.execute("DELETE FROM locum_changes WHERE revision <= ?", (revision - _RING,))
    return int(revision)


def since(db: sqlite3.Connection, namespace: str, revision: int) -> tuple[int, set[str] | None]:
    """The keys that have changed after a revision.

    Returns:
        The latest revision, and the keys; `None` for them if too much has changed to name it.
    """
    (latest,) = db.execute("SELECT revision FROM locum_store").fetchone()
    if latest - revision > _RING // 2:
        return latest, None
    rows = db.execute(
        "SELECT key FROM locum_changes WHERE revision > ? AND namespace IN (?, ?)", (revision, namespace, EVERYWHERE)
    ).fetchall()
    return latest, {key for (key,) in rows}
