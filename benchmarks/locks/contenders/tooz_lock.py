"""tooz's lock, on its driver for Redis, which is redis-py's Lock underneath."""

from __future__ import annotations

import os

from tooz import coordination

from benchmarks.locks.turns import Turns


def main() -> None:
    """Turns, or many."""
    turns = Turns()
    url = f"redis://127.0.0.1:{turns.server}?timeout={turns.ttl:.0f}"
    coordinator = coordination.get_coordinator(url, str(os.getpid()).encode())
    coordinator.start(start_heart=True)
    if turns.many:
        locks = [coordinator.get_lock(name.encode()) for name in turns.names]
        turns.begin_many()
        for each in locks:
            each.acquire()
        turns.had_many()
        turns.hold_many(each.acquired for each in locks)
        for each in locks:
            each.release()
        turns.gave_many()
    else:
        lock = coordinator.get_lock(turns.scope.encode())
        turns.run(lock.acquire, lock.release)
    coordinator.stop()


if __name__ == "__main__":
    main()
