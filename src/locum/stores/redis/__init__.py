"""The store on one Redis server, 6.2 or newer, or on what speaks and behaves like it.

Every call is one script, which compares, guards, writes and wakes in one step. No key ever expires: sessions are
observed, and nothing depends on the server's clock. What a server promises of acknowledged writes depends on how it is
set up; that is read from it at every connection, and said (R26).
"""

from locum.stores.redis.store import RedisStore, make_store

__all__ = ["RedisStore", "make_store"]
