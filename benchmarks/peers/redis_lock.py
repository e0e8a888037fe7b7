"""redis-py's Lock: acquired for a TTL, and kept by a thread of the user's own (hence `thread_local=False`)."""

from __future__ import annotations

import threading

import redis
from redis.exceptions import LockError, RedisError
from redis.lock import Lock

from benchmarks.peers.work import Work


def renew(lock: Lock, interval: float, lost: threading.Event, done: threading.Event) -> None:
    """Set the TTL back again and again; say so when the lock is another's by now."""
    while not done.wait(interval):
        try:
            lock.reacquire()
        except (LockError, RedisError):
            lost.set()
            return


def main() -> None:
    """Work while the lock is held; stand in line again when it is lost."""
    work = Work()
    client = redis.Redis(port=int(work.server))
    work.stand()
    while not work.leaving:
        lock = client.lock(work.scope, timeout=work.ttl, thread_local=False)
        lock.acquire()
        lost, done = threading.Event(), threading.Event()
        renewal = threading.Thread(target=renew, args=(lock, work.ttl / 3, lost, done), daemon=True)
        renewal.start()
        work.run(lost.is_set)
        done.set()
        renewal.join()
        try:
            lock.release()
        except LockError:
            pass  # it is another's


if __name__ == "__main__":
    main()
