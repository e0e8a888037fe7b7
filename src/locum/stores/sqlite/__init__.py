"""The embedded store: one SQLite file that all instances of one machine share.

Writers of all processes queue by a file lock, because SQLite's own busy handler sleeps and starves them for seconds.
Wake-ups go through a side file that is touched after each commit and watched by inotify, because an event on the -wal
file comes before the commit can be seen and is lost.
"""

from locum.stores.sqlite.store import SqliteStore, make_store

__all__ = ["SqliteStore", "make_store"]
