"""kazoo's Election, with the state listener that its documentation asks for: no work while suspended or lost."""

from __future__ import annotations

import threading

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import KazooException

from benchmarks.peers.work import Work


def main() -> None:
    """Work while elected; stand in line again when the session is lost."""
    work = Work()
    client = KazooClient(hosts=f"127.0.0.1:{work.server}", timeout=work.ttl)
    lost = threading.Event()

    def listen(state: str) -> None:
        if state != KazooState.CONNECTED:
            lost.set()

    client.add_listener(listen)
    client.start()
    work.stand()
    while not work.leaving:
        lost = threading.Event()
        try:
            client.Election(f"/{work.scope}", work.name).run(work.run, lost.is_set)
        except KazooException:
            pass  # what it wanted to release is gone with its session
    client.stop()


if __name__ == "__main__":
    main()
