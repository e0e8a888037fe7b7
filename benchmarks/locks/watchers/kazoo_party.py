"""kazoo's Party, and its ChildrenWatch, which reads the names of all again after each change."""

from __future__ import annotations

import queue

from kazoo.client import KazooClient

from benchmarks.locks.watching import Watching

_PATIENCE = 60.0


def connected(watching: Watching) -> KazooClient:
    """A session of its own."""
    client = KazooClient(hosts=f"127.0.0.1:{watching.server}", timeout=watching.ttl)
    client.start()
    return client


def crowd(watching: Watching) -> None:
    """Be a thousand, with one session, until the word."""
    client = connected(watching)
    for _ in range(watching.members):
        client.Party(f"/bench/{watching.scope}").join()
    watching.stand()
    client.stop()


def watch(watching: Watching) -> None:
    """Watch with one session while one of another's comes and goes."""
    path = f"/bench/{watching.scope}"
    joiner, watcher = connected(watching), connected(watching)
    states: queue.Queue[tuple[int, int]] = queue.Queue()

    def shown(number: int) -> int:
        while True:
            found, at = states.get(timeout=_PATIENCE)
            if found == number:
                return at

    watcher.ChildrenWatch(path, lambda names: states.put((len(names), watching.now())))
    shown(watching.members)
    watching.stand()
    party = joiner.Party(path)
    for _ in range(watching.changes):
        joining = watching.now()
        party.join()
        joined = shown(watching.members + 1)
        leaving = watching.now()
        party.leave()
        watching.note(joining, joined, leaving, shown(watching.members))
    watching.tell()
    watcher.stop()
    joiner.stop()


def main() -> None:
    """The crowd, or the watch."""
    watching = Watching()
    (crowd if watching.is_crowd else watch)(watching)


if __name__ == "__main__":
    main()
