"""ZooKeeper's messages, as kazoo writes and reads them: the one room that knows of kazoo.

kazoo's own client is threads and courtesy, and does not tell under which zxid a change happened; its messages are what
is needed. What it lacks are the requests for a persistent watch and for several reads, which are of ZooKeeper 3.6.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple, cast

from kazoo.exceptions import EXCEPTIONS, RolledBackError, RuntimeInconsistency
from kazoo.protocol.serialization import (
    Auth,
    CheckVersion,
    CloseInstance,
    Connect,
    Create,
    Delete,
    GetChildren,
    GetData,
    MultiHeader,
    Ping,
    ReplyHeader,
    SetData,
    Sync,
    Transaction,
    Watch,
    int_struct,
    stat_struct,
)
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE, make_acl

__all__ = [
    "AUTH_XID",
    "BAD_VERSION",
    "NODE_EXISTS",
    "NOT_EMPTY",
    "NO_AUTH",
    "NO_NODE",
    "SESSION_MOVED",
    "UNIMPLEMENTED",
    "WATCH_XID",
    "Answer",
    "Greeting",
    "Node",
    "Refusal",
    "Request",
    "Rights",
    "check",
    "children",
    "close",
    "connect",
    "content",
    "create",
    "delete",
    "get_each",
    "greeting",
    "login",
    "message",
    "multi",
    "ping",
    "put",
    "reply",
    "sync",
    "watch",
    "watched",
]

AUTH_XID: Final = -4
WATCH_XID: Final = -1
UNIMPLEMENTED: Final = -6
NO_NODE: Final = -101
NO_AUTH: Final = -102
NODE_EXISTS: Final = -110
BAD_VERSION: Final = -103
NOT_EMPTY: Final = -111
SESSION_MOVED: Final = -118

_PING_XID: Final = -2
_INT: Final = struct.Struct("!i")
_ADD_WATCH: Final = 106
_RECURSIVE: Final = 1
_MULTI_READ: Final = 22
_ERROR: Final = -1
_NOT_ITS_FAULT: Final = (RolledBackError.code, RuntimeInconsistency.code)

Request = Any
"""A request, as kazoo has it: a type and what it holds."""


class Refusal(Exception):  # noqa: N818 - it is an answer, and becomes one of our own errors
    """The server says no, and has changed nothing.

    Attributes:
        code: ZooKeeper's number for the reason.
        at: In a `multi`, the place of the operation that was refused.
    """

    def __init__(self, code: int, at: int = 0) -> None:
        self.code, self.at = code, at
        known = EXCEPTIONS.get(code)
        super().__init__(known.__name__.removesuffix("Error") if known else f"error {code}")


class Node(NamedTuple):
    """A node: its value, the zxids of its creation and its last change, and its version."""

    value: bytes
    created: int
    changed: int
    version: int


class Answer(NamedTuple):
    """What was answered, and under which zxid: of the change, or of the last one that the server knew."""

    zxid: int
    what: Any


class Greeting(NamedTuple):
    """What a server says to who connects: the granted timeout (ms), 0 if the session has expired."""

    timeout: int
    session: int
    password: bytes
    read_only: bool


class Rights(NamedTuple):
    """What others may do with a node that is made with a login: nothing, or one of them may read it."""

    acl: Any

    @classmethod
    def of(cls, *, has_login: bool, reader: tuple[str, str] | None) -> Rights:
        """For nodes that are made with a login, or without one: then everyone may do everything.

        Args:
            has_login: Whether there is one: then it alone may change them.
            reader: Who may read them nevertheless: a scheme and an id.
        """
        if not has_login:
            return cls(OPEN_ACL_UNSAFE)
        if reader is None:
            return cls(CREATOR_ALL_ACL)
        return cls([*CREATOR_ALL_ACL, make_acl(*reader, read=True)])


class _AddWatch(NamedTuple):
    path: str
    type: int = _ADD_WATCH

    def serialize(self) -> bytes:
        name = self.path.encode()
        return _INT.pack(len(name)) + name + _INT.pack(_RECURSIVE)


class _MultiRead(NamedTuple):
    paths: tuple[str, ...]
    type: int = _MULTI_READ

    def serialize(self) -> bytes:
        head = bytes(MultiHeader(GetData.type, False, -1).serialize())
        asked = [head + bytes(GetData(path, None).serialize()) for path in self.paths]
        return b"".join(asked) + bytes(MultiHeader(-1, True, -1).serialize())


def connect(*, timeout: int, session: int = 0, password: bytes = b"\x00" * 16) -> bytes:
    """The first message: a new session with a timeout (ms), or one that is there already."""
    return _framed(Connect(0, 0, timeout, session, password, False).serialize())


def greeting(message: bytes) -> Greeting:
    """The answer to it."""
    found, _ = Connect.deserialize(message, 0)
    return Greeting(found.time_out, found.session_id, bytes(found.passwd or b""), bool(found.read_only))


def login(scheme: str, secret: str) -> bytes:
    """The message that says who we are."""
    return _framed(_INT.pack(AUTH_XID) + _INT.pack(Auth.type) + Auth(0, scheme, secret).serialize())


def sync(path: str) -> Request:
    """Have the server catch up with the ensemble."""
    return Sync(path)


def get_each(*paths: str) -> Request:
    """For each an `Answer` with a `Node`, or a `Refusal`, in their order: one message for all."""
    return _MultiRead(paths)


def children(path: str) -> Request:
    """The names of its children."""
    return GetChildren(path, None)


def check(path: str, version: int) -> Request:
    """In a `multi`: it has this version."""
    return CheckVersion(path, version)


def create(path: str, value: bytes, rights: Rights, *, ephemeral: bool = False) -> Request:
    """Make a node; an ephemeral one dies with the connection's session."""
    return Create(path, value, rights.acl, 1 if ephemeral else 0)


def delete(path: str, version: int = -1) -> Request:
    """Delete a node without children."""
    return Delete(path, version)


def put(path: str, value: bytes, version: int = -1) -> Request:
    """Change a node's value."""
    return SetData(path, value, version)


def multi(*operations: Request) -> Request:
    """All of them, or none."""
    return Transaction(operations)


def close() -> Request:
    """End the session."""
    return CloseInstance


def watch(path: str) -> Request:
    """Hear of every change at and under a path, as long as the connection lasts."""
    return _AddWatch(path)


def message(xid: int, request: Request) -> bytes:
    """A request as it is sent."""
    return _framed(_INT.pack(xid) + _INT.pack(request.type) + bytes(request.serialize()))


def ping() -> bytes:
    """The message that asks for a sign of life."""
    return _framed(_INT.pack(_PING_XID) + _INT.pack(Ping.type))


def reply(text: bytes) -> tuple[int, int, int, bytes]:
    """An answer taken apart: xid, zxid, error, and what follows."""
    header, offset = ReplyHeader.deserialize(text, 0)
    return header.xid, header.zxid, header.err, text[offset:]


def content(request: Request, zxid: int, code: int, text: bytes) -> Answer:
    """What is answered to a request.

    Raises:
        Refusal: No.
    """
    if isinstance(request, Transaction):
        _raise_refused(code, text)
        return Answer(zxid, None)
    if code:
        raise Refusal(code)
    if isinstance(request, _MultiRead):
        return Answer(zxid, _each(zxid, text))
    if isinstance(request, GetChildren):
        return Answer(zxid, cast("list[str]", GetChildren.deserialize(text, 0)))
    return Answer(zxid, None)


def watched(text: bytes) -> str:
    """The path of a wake-up; empty where the connection's own state has changed."""
    event, _ = Watch.deserialize(text, 0)
    return event.path or ""


def _node(text: bytes, offset: int) -> tuple[Node, int]:
    """The node that stands there, and where it ends."""
    value, stat = GetData.deserialize(text, offset)
    offset += int_struct.size + len(value or b"") + stat_struct.size
    return Node(bytes(value or b""), stat.czxid, stat.mzxid, stat.version), offset


def _each(zxid: int, text: bytes) -> list[Answer | Refusal]:
    found: list[Answer | Refusal] = []
    header, offset = MultiHeader.deserialize(text, 0)
    while not header.done:
        if header.type == _ERROR:
            (code,) = int_struct.unpack_from(text, offset)
            offset += int_struct.size
            found.append(Refusal(code))
        else:
            node, offset = _node(text, offset)
            found.append(Answer(zxid, node))
        header, offset = MultiHeader.deserialize(text, offset)
    return found


def _raise_refused(code: int, text: bytes) -> None:
    results = Transaction.deserialize(text, 0) if text else []
    codes = [cast("Any", one).code if isinstance(one, Exception) else 0 for one in results]
    for at, one in enumerate(codes):
        if one and one not in _NOT_ITS_FAULT:
            raise Refusal(one, at)
    if code or any(codes):
        raise Refusal(code or next(one for one in codes if one))


def _framed(text: bytes) -> bytes:
    return _INT.pack(len(text)) + text
