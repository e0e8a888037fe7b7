"""tooz's leader election, as its tutorial shows it, on its driver for Redis.

Nothing tells a leader that it is one no longer: no driver has a call-back for that, and this one no way to ask. A
leader that leaves has to stop its whole coordinator, for this driver cannot stand down.
"""

from __future__ import annotations

import threading
import time

import tooz
from tooz import coordination

from benchmarks.peers.work import Work


def work_from(elected: threading.Event, work: Work) -> None:
    """Work from the election on."""
    elected.wait()
    work.run(lambda: False)


def main() -> None:
    """Take part in the election until SIGTERM."""
    work = Work()
    group = work.scope.encode()
    url = f"redis://127.0.0.1:{work.server}?timeout={work.ttl:.0f}"  # of locks, of the membership, and of the socket
    coordinator = coordination.get_coordinator(url, work.name.encode())
    coordinator.start(start_heart=True)
    try:
        coordinator.create_group(group).get()
    except coordination.GroupAlreadyExist:
        pass
    coordinator.join_group(group).get()
    elected = threading.Event()
    coordinator.watch_elected_as_leader(group, lambda _: elected.set())
    body = threading.Thread(target=work_from, args=(elected, work), daemon=True)
    body.start()
    work.stand()
    while not work.leaving:
        try:
            coordinator.run_watchers()
        except tooz.ToozError:
            pass  # it is asked again
        time.sleep(0.1)
    body.join()
    coordinator.stop()


if __name__ == "__main__":
    main()
