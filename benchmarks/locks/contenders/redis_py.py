"""redis-py's Lock: whoever waits asks again after 0.1 s, which is its default."""

from __future__ import annotations

import redis

from benchmarks.locks.turns import Turns


def main() -> None:
    """Turns, or many."""
    turns = Turns()
    client = redis.Redis(port=int(turns.server))
    if turns.many:
        locks = [client.lock(name, timeout=turns.ttl) for name in turns.names]
        turns.begin_many()
        for each in locks:
            each.acquire()
        turns.had_many()
        turns.hold_many(each.owned() for each in locks)
        for each in locks:
            each.release()
        turns.gave_many()
        return
    lock = client.lock(turns.scope, timeout=turns.ttl)
    turns.run(lock.acquire, lock.release)


if __name__ == "__main__":
    main()
