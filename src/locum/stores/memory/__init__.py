"""The store in this process's memory: exact, deterministic, and seen by no other process.

It is for tests and simulations, and for trying out. A `MemoryServer` holds the data and does each operation as one
step; a `MemoryStore` is one connection to it, over a `Wire`. What goes wrong on the way is the wire's affair, and what
becomes of a server (`snapshot`, `restore`, `wipe`) is asked of the server: the store itself knows of neither.
"""

from locum.stores.memory.server import MemoryServer, Snapshot
from locum.stores.memory.store import MemoryStore, make_store
from locum.stores.memory.wire import Wire

__all__ = ["MemoryServer", "MemoryStore", "Snapshot", "Wire", "make_store"]
