"""kazoo's Lock: fair, by sequence nodes; whoever waits watches the one ahead."""

from __future__ import annotations

from kazoo.client import KazooClient

from benchmarks.locks.turns import Turns


def main() -> None:
    """Turns, or many."""
    turns = Turns()
    client = KazooClient(hosts=f"127.0.0.1:{turns.server}", timeout=turns.ttl)
    client.start()
    if turns.many:
        locks = [client.Lock(f"/bench/{name}") for name in turns.names]
        turns.begin_many()
        for each in locks:
            each.acquire()
        turns.had_many()
        turns.hold_many(each.is_acquired for each in locks)
        for each in locks:
            each.release()
        turns.gave_many()
    else:
        lock = client.Lock(f"/bench/{turns.scope}")
        turns.run(lock.acquire, lock.release)
    client.stop()


if __name__ == "__main__":
    main()
