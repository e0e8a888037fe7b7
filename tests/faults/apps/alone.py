"""Runs a command in a network namespace of its own, loopback up, and tells what its kernel has sent or tried to send.

Usage: unshare --net python alone.py COMMAND...: leaves with the command's code; the last line of its output is a JSON
object of the namespace's counters that have moved.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import subprocess
import sys
from pathlib import Path

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1


def loopback_up() -> None:
    """What `ip link set lo up` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        _, flags, _ = struct.unpack("16sH14s", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | _IFF_UP, b""))


def counters() -> dict[str, int]:
    """The counters of this network namespace that move when somebody sends, or tries to and finds no road."""
    found: dict[str, int] = {}
    lines = Path("/proc/net/snmp").read_text().splitlines()
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        protocol = names.split()[0]
        pairs = zip(names.split()[1:], values.split()[1:], strict=True)
        found |= {f"{protocol}{name}": int(value) for name, value in pairs}
    for line in Path("/proc/net/snmp6").read_text().splitlines() if Path("/proc/net/snmp6").exists() else []:
        name, value = line.split()
        found[name] = int(value)
    wanted = ("ActiveOpens", "OutNoRoutes", "OutDatagrams", "OutRequests")
    return {name: value for name, value in found.items() if name.endswith(wanted)}


def main() -> int:
    """Run the command, and tell."""
    loopback_up()
    before = counters()
    code = subprocess.run(sys.argv[1:], check=False).returncode
    moved = {name: value - before.get(name, 0) for name, value in counters().items() if value != before.get(name, 0)}
    sys.stdout.write(json.dumps(moved) + "\n")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
