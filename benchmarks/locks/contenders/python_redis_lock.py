"""python-redis-lock: whoever waits is woken by a list's first entry; a thread for each lock renews it, as it comes.

`socket_timeout=None`, for with redis-py's default of 5 s whoever waits that long ends with an error.
"""

from __future__ import annotations

import redis
import redis_lock

from benchmarks.locks.turns import Turns


def main() -> None:
    """Turns, or many."""
    turns = Turns()
    client = redis.StrictRedis(port=int(turns.server), socket_timeout=None)
    if turns.many:
        locks = [redis_lock.Lock(client, name, expire=int(turns.ttl), auto_renewal=True) for name in turns.names]
        turns.begin_many()
        for each in locks:
            each.acquire()
        turns.had_many()
        turns.hold_many(each.get_owner_id() == each.id for each in locks)
        for each in locks:
            each.release()
        turns.gave_many()
        return
    lock = redis_lock.Lock(client, turns.scope, expire=int(turns.ttl), auto_renewal=True)
    turns.run(lock.acquire, lock.release)


if __name__ == "__main__":
    main()
