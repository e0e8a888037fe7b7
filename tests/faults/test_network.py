"""F13: on a machine with nothing but a loopback, the demo works, and nothing contacts anything but the store.

A network namespace of its own counts, in the kernel and for all processes in it, every packet and every attempt to send
one, with or without a road to anywhere. SQLite is a file, so all counts must stay at zero.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.faults.kit.cluster import NEEDS_UNSHARE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.faults.kit.cluster import Cluster

pytestmark = NEEDS_UNSHARE

ALONE = Path(__file__).with_name("apps") / "alone.py"


def run_alone(cluster: Cluster, command: Sequence[str]) -> tuple[int, str, dict[str, int]]:
    """Run a command in a network namespace with a loopback only; its code, its output, and what was sent or tried."""
    process = cluster.beside(["unshare", "--net", sys.executable, str(ALONE), *command])
    code = process.wait(100)
    output = cluster.output_beside()
    return code, output, json.loads(output.splitlines()[-1])


def test_f13_demo_contacts_nothing(cluster: Cluster) -> None:
    demo = [sys.executable, "-m", "locum", "demo", "--seconds", "12", "--kills", "4", "--json"]
    code, output, sent = run_alone(cluster, demo)
    assert code == 0, output
    assert '"takeovers"' in output, f"no demo was shown:\n{output}"
    assert sent == {}, output


@pytest.mark.parametrize(
    "attempt",
    [
        "s = socket.socket(); s.connect_ex(('192.0.2.1', 80))",
        "s = socket.socket(); s.connect_ex(('127.0.0.1', 80))",
        "s = socket.socket(type=socket.SOCK_DGRAM); s.connect_ex(('192.0.2.1', 53))",
        "socket.gethostbyname_ex('locum.example')",
    ],
    ids=["away", "loopback", "datagram", "name"],
)
def test_f13_the_judge_sees_attempts(cluster: Cluster, attempt: str) -> None:
    """The counters do move when somebody tries."""
    _, output, sent = run_alone(cluster, [sys.executable, "-c", f"import socket; {attempt}"])
    assert sent != {}, output
