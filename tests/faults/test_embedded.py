"""F22 and F27: instances inside processes that are not Locum's, with `kill` and with `cancel`."""

from __future__ import annotations

import json
import signal
import threading
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from locum.clock import seconds
from tests.faults.kit import judges
from tests.faults.kit.rows import now
from tests.faults.kit.waiting import pass_by, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from locum.journal import Entry
    from tests.faults.kit.cluster import Cluster, Instance
    from tests.faults.kit.rows import Row

SHORT = pytest.mark.cluster(ttl=2.0)


def first(cluster: Cluster, app: str) -> tuple[Instance, Row]:
    """The embedded one is active, and one under a keeper stands by; its last row."""
    embedded = cluster.start(app=app, by_itself=True)
    until(cluster.rows.last, "its first row")
    cluster.start()
    assert cluster.stand() is embedded
    until(lambda: cluster.window.sessions()[embedded.name].beat, "a beat after the opening")
    before = cluster.rows.last()
    assert before is not None
    return embedded, before


def last_beat(cluster: Cluster, instance: Instance) -> int:
    """The instant at which its last answered beat was sent (boot clock, ns)."""
    beat = cluster.window.sessions()[instance.name].beat
    assert beat
    return beat


def ended(cluster: Cluster, token: int) -> Entry:
    """How a term ended, once the journal tells."""
    return until(lambda: cluster.window.journal(cluster.service).get(token), f"the end of {token} in the journal")


# -- F22


@pytest.mark.cluster(ttl=2.0, environment={"FAULTS_ENFORCEMENT": "kill"})
def test_f22_embedded_with_kill(cluster: Cluster) -> None:
    """Its keeper is held too: the kernel's timer in the process ends it at 85 %, before anyone else may begin."""
    embedded, before = first(cluster, "embedded")
    cluster.order(f"hold {2 * cluster.ttl}")
    beat = last_beat(cluster, embedded)
    assert embedded.leave(within=1.5 * cluster.ttl) == -signal.SIGKILL
    silent = seconds(now() - beat)
    after = cluster.takeover(before.token)
    assert after.at > beat + 0.85e9 * cluster.ttl
    assert silent < 0.95 * cluster.ttl, "the kernel is exact, and whoever must run to die is not; 100 % is the promise"
    entry = ended(cluster, before.token)
    assert entry.instance == embedded.name
    assert entry.why.startswith("fell silent for ")
    assert entry.why.endswith(" s, and its own timer ended it"), entry
    cluster.judge()


# -- F27


class Client:
    """Somebody who uses the web application all the while.

    Attributes:
        answers: How many requests were answered.
        failures: What was not.
        longest: Of all answers, in seconds.
    """

    def __init__(self, cluster: Cluster) -> None:
        port = cluster.rows.path.with_name(f"{cluster.rows.path.name}-port")
        self._url = f"http://127.0.0.1:{port.read_text()}/terms"
        self.answers, self.failures, self.longest = 0, list[str](), 0.0
        self._over = threading.Event()

    def terms(self) -> dict[str, Any]:
        """What the application shows of its terms."""
        with urllib.request.urlopen(self._url, timeout=10) as answer:  # noqa: S310 - its own server
            found: dict[str, Any] = json.load(answer)
            return found

    @contextmanager
    def asking(self) -> Iterator[None]:
        """It asks, without a pause to speak of, for the length of the block."""
        thread = threading.Thread(target=self._ask)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _ask(self) -> None:
        while not self._over.wait(0.02):
            begun = time.monotonic()
            try:
                self.terms()
            except OSError as error:
                self.failures.append(repr(error))
            self.answers += 1
            self.longest = max(self.longest, time.monotonic() - begun)


@SHORT
@pytest.mark.parametrize("how", ["", "stubborn"], ids=["obedient", "stubborn"])
def test_f27_web_application(cluster: Cluster, how: str) -> None:
    """The store is away for 2 TTL: the application does not notice, the term is over in time, and another one comes."""
    web, before = first(cluster, "web")
    client = Client(cluster)
    if how:
        cluster.order(how)
    with client.asking():
        with cluster.place.away():
            beat = last_beat(cluster, web)
            pass_by(2 * cluster.ttl)
            late = judges.rows_after(cluster.rows.read(), before.token, beat + round(0.85e9 * cluster.ttl))
            assert not late, "\n".join(late)
            assert cluster.rows.first_of_newer(before.token) is None, "a term began without the store"
            assert client.terms()["current"] == []
        after = cluster.takeover(before.token)
        if how:
            assert after.pid != before.pid, "it stood in line while its last body still ran"
            until(lambda: shown(cluster, web) == "still running", "its body to be shown as still running")
            count = client.terms()["refused"][str(before.token)]
            until(lambda: client.terms()["refused"][str(before.token)] > count, "another write, refused")
            assert client.terms()["current"] == []
    assert web.is_alive
    assert client.failures == []
    assert client.answers > 2 * cluster.ttl / 0.02 / 4
    assert client.longest < cluster.ttl, "the application was held up"
    assert ended(cluster, before.token).instance == web.name
    cluster.judge()


def shown(cluster: Cluster, instance: Instance) -> str:
    """What an instance shows of the service."""
    mode: str = cluster.window.services().get(instance.name, {}).get(cluster.service, {}).get("mode", "")
    return mode


@SHORT
def test_f27_resign_with_a_body_that_will_not_end(cluster: Cluster) -> None:
    """After `stop_timeout` its session is closed under it: the other one must not wait for ever (R19)."""
    web, before = first(cluster, "web")
    client = Client(cluster)
    cluster.order("stubborn")
    cluster.window.ask_to_resign(cluster.service, before.token, "was asked to resign")
    after = cluster.takeover(before.token, within=10)
    assert after.pid != before.pid
    until(lambda: shown(cluster, web) == "still running", "its body to be shown as still running")
    assert client.terms()["current"] == []
    assert "did not stop within 0.3 s" in ended(cluster, before.token).why
    cluster.judge()


def test_f27_clean_stop(cluster: Cluster) -> None:
    """A stop resigns: the next one does not wait for a TTL."""
    web, before = first(cluster, "web")
    web.process.send_signal(signal.SIGTERM)
    cluster.takeover(before.token, within=0.5 * cluster.ttl)
    # uvicorn, once all is shut down, ends itself by the signal that it was told to stop with
    assert web.leave() in (0, -signal.SIGTERM)
    assert ended(cluster, before.token).why == "was stopped"
    assert web.name not in cluster.window.sessions()
    assert "Traceback" not in web.text
    cluster.judge()
