"""Networks of their own for instances: a namespace with one road to this machine, which the kernel cuts by nftables.

To a program in there this machine is another one; the server behind the road listens on the loopback, so a wire carries
what comes over the road to it.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.kit.cluster import PID_NAMESPACE
from tests.faults.kit.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from tests.faults.kit.places import ServerPlace

__all__ = ["CUTS", "NEEDS_NETWORKS", "OwnNetwork"]

_TOOLS: Final = {name: shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") for name in ("ip", "nft")}

NEEDS_NETWORKS: Final = pytest.mark.skipif(
    os.environ.get("CI") != "true" and (None in _TOOLS.values() or os.geteuid() != 0),
    reason="not installed: ip and nft (make servers), or no right to use them",
)
"""For tests that make networks, which takes root; with CI=true they fail instead of being left out."""

CUTS: Final = {
    "silent": ("input", "output"),
    "requests": ("output",),
    "answers": ("input",),
    "reset": ("output",),
}
"""What can be done to a road, and where: of what leaves and what comes in all is dropped, or reset."""

_CHAIN: Final = "chain {hook} {{ type filter hook {hook} priority 0; {side} road {rule}; }};"
_SIDES: Final = {"input": "iifname", "output": "oifname"}


class OwnNetwork:
    """A network with one road to a store's server, for one instance.

    Args:
        place: The store.
    """

    def __init__(self, place: ServerPlace) -> None:
        self._place = place
        self._name = f"locum-{uuid.uuid4().hex[:8]}"
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack as stack:
            _run("ip", "netns", "add", self._name)
            stack.callback(_run, "ip", "netns", "delete", self._name)  # the road goes with it
            # of the addresses that are set aside for tests of networks: four for each road
            place = random.randrange(2**15)
            net = f"198.{18 + (place >> 14)}.{place >> 6 & 255}"
            here, there = (f"{net}.{(place & 63) * 4 + number}" for number in (1, 2))
            end = f"lt{self._name[6:]}"
            _run("ip", "link", "add", end, "type", "veth", "peer", "name", "road", "netns", self._name)
            _run("ip", "address", "add", f"{here}/30", "dev", end)
            _run("ip", "link", "set", end, "up")
            self._inside("ip", "address", "add", f"{there}/30", "dev", "road")
            self._inside("ip", "link", "set", "road", "up")
            self._inside("ip", "link", "set", "lo", "up")
            wire = stack.enter_context(Wire(self._place.server.port, host=here))
            self.url = self._place.through(here, wire.port)
            """The store, as it is reached from there."""
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def below(self) -> Sequence[str]:
        """Before a command: it runs in there, in a pid namespace of its own besides."""
        return (str(_TOOLS["ip"]), "netns", "exec", self._name, *PID_NAMESPACE)

    def hurt(self, cut: str) -> None:
        """Cut the road, until `mend`; one of `CUTS`."""
        rule = "meta l4proto tcp reject with tcp reset" if cut == "reset" else "drop"
        chains = [_CHAIN.format(hook=hook, side=_SIDES[hook], rule=rule) for hook in CUTS[cut]]
        self._inside("nft", f"table inet cut {{ {' '.join(chains)} }}")

    def mend(self) -> None:
        """It is whole again."""
        self._inside("nft", "delete table inet cut")

    def _inside(self, *command: str) -> None:
        _run("ip", "netns", "exec", self._name, *command)


def _run(tool: str, *arguments: str) -> None:
    command = [str(_TOOLS[tool]), *arguments]
    if tool == "ip" and arguments[:2] == ("netns", "exec"):
        command[4] = str(_TOOLS.get(arguments[3], arguments[3]))
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
