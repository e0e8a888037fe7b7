"""Where everything stands below the store's root, and how it is written there.

    store                      the incarnation; every change checks its version
    tick                       touched by every change: its zxid is the store's revision
    ns/NAME                    a namespace: its longest TTL
    ns/NAME/beats/ID           a session's last beat; ephemeral
    ns/NAME/bound/ID/KEY       what is bound to a session that is not closed
    ns/NAME/made/FOLDER        its version changes with every record that is made or deleted
    ns/NAME/seen/alive/ID      a session lives; ephemeral
    ns/NAME/seen/sessions/ID   a session's record, or its tombstone
    ns/NAME/seen/records/...   the records, in a folder for each first segment of a key

Below `seen` everyone's wake-ups are watched, so that a beat wakes nobody.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from locum.errors import CorruptRecordError
from locum.store import Record, Seen

if TYPE_CHECKING:
    from locum.stores.zookeeper.protocol import Node

__all__ = ["SCHEMA", "Incarnation", "Kept", "Layout", "Life"]

SCHEMA: Final = 1
_HEAD: Final = struct.Struct("!qq32s")
_ALONE: Final = "%"  # the folder of keys that have one segment only; no segment is called so


@dataclass(frozen=True, slots=True)
class Incarnation:
    """What `store` says.

    Attributes:
        id: The store's identity.
        offset: What is added to a zxid to make it a revision, which grows from one incarnation to the next.
        quarantined: Whether nothing is to be granted yet.
        max_ttl: The longest TTL of earlier incarnations, in nanoseconds.
        after: The incarnations that it was begun after.
        least_reader: The schema that a reader must know.
    """

    id: str
    offset: int
    quarantined: bool
    max_ttl: int = 0
    after: tuple[str, ...] = ()
    least_reader: int = SCHEMA

    def to_bytes(self) -> bytes:
        """As it is kept."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, value: bytes) -> Incarnation:
        """As it was kept; what a newer schema has added is left out."""
        try:
            fields: dict[str, Any] = json.loads(value)
            known = {name: fields[name] for name in cls.__slots__ if name in fields}
            known["after"] = tuple(known.get("after", ()))
            return cls(**known)
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptRecordError("store", repr(error)) from None

    def seen(self, zxid: int) -> Seen:
        """What is seen of the store where its last change was made under a zxid."""
        return Seen(self.id, self.offset + zxid)


@dataclass(frozen=True, slots=True)
class Life:
    """A session's record: open in one incarnation, or closed, and why."""

    incarnation: str
    ttl: int
    owner: str
    reason: str | None = None

    def to_bytes(self) -> bytes:
        """As it is kept."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, value: bytes) -> Life:
        """As it was kept."""
        try:
            return cls(**json.loads(value))
        except (ValueError, TypeError) as error:
            raise CorruptRecordError("session", repr(error)) from None


@dataclass(frozen=True, slots=True)
class Kept:
    """A record as a node holds it: with the offsets of the incarnations that made and changed it."""

    value: bytes
    session: str | None
    made: int
    offset: int

    def to_bytes(self) -> bytes:
        """As it is kept."""
        return _HEAD.pack(self.made, self.offset, (self.session or "").encode()) + self.value

    @classmethod
    def from_node(cls, key: str, node: Node) -> tuple[Kept, Record]:
        """As it was kept, and the record that it is."""
        try:
            made, offset, session = _HEAD.unpack_from(node.value)
        except struct.error as error:
            raise CorruptRecordError(key, str(error)) from None
        kept = cls(node.value[_HEAD.size :], session.rstrip(b"\0").decode() or None, made, offset)
        return kept, Record(key, kept.value, offset + node.changed, made + node.created, kept.session)


class Layout:
    """The paths of one namespace.

    Args:
        root: The path below which everything stands; empty, or from its slash on.
        namespace: Whose they are.
    """

    def __init__(self, root: str, namespace: str) -> None:
        self.root = root
        self.store, self.tick, self.namespaces = f"{root}/store", f"{root}/tick", f"{root}/ns"
        self.namespace = f"{root}/ns/{namespace}"
        self.watched = f"{self.namespace}/seen"
        self.alive, self.sessions = f"{self.watched}/alive", f"{self.watched}/sessions"
        self.records, self.made = f"{self.watched}/records", f"{self.namespace}/made"
        self.beats, self.bound = f"{self.namespace}/beats", f"{self.namespace}/bound"

    @property
    def parents(self) -> tuple[str, ...]:
        """What must be there before anything else of the namespace."""
        below = (self.watched, self.alive, self.sessions, self.records, self.made, self.beats, self.bound)
        return (self.namespace, *below)

    @property
    def ancestors(self) -> list[str]:
        """The root and what is above it, from the top."""
        parts = self.root.strip("/").split("/") if self.root else []
        return ["/" + "/".join(parts[: count + 1]) for count in range(len(parts))]

    @staticmethod
    def folder(key: str) -> str:
        """The folder of a key."""
        return key.partition("/")[0] if "/" in key else _ALONE

    def record(self, key: str) -> str:
        """The node of a key."""
        _, _, rest = key.partition("/")
        return f"{self.records}/{self.folder(key)}/{_flat(rest or key)}"

    def key(self, folder: str, name: str) -> str:
        """The key of a node in a folder."""
        rest = name.replace("%", "/")
        return rest if folder == _ALONE else f"{folder}/{rest}"

    def counter(self, key: str) -> str:
        """What changes its version when records of its folder are made or deleted."""
        return f"{self.made}/{self.folder(key)}"

    def mark(self, session: str, key: str) -> str:
        """Says that a key is bound to a session."""
        return f"{self.bound}/{session}/{_flat(key)}"

    @staticmethod
    def marked(name: str) -> str:
        """The key that is bound."""
        return name.replace("%", "/")

    def changed(self, path: str) -> str | None:
        """The key that a wake-up for a path is about, if it is about one."""
        parts = path.removeprefix(self.watched + "/").split("/")
        match parts:
            case ["alive" | "sessions", session]:
                return f"session/{session}"
            case ["records", folder, name]:
                return self.key(folder, name)
        return None


def _flat(key: str) -> str:
    return key.replace("/", "%")
