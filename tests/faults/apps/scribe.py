"""A child by subprocess: writes rows under its parent's token, and so do its children. Without the project's imports.

Usage: scribe.py ROWS TOKEN WHO [WHO...]: each WHO beyond the first is a child of the one before, in a process group of
its own if it is called `group`, in a session of its own if it is called `session`.
"""

from __future__ import annotations

import os
import sys
import time


def main() -> None:
    """Fork the next one, and write."""
    path, token, *names = sys.argv[1:]
    who = names.pop(0)
    while names and os.fork() == 0:
        who = names.pop(0)
        if who == "group":
            os.setpgid(0, 0)
        if who == "session":
            os.setsid()
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    while True:
        at = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        os.write(fd, f"{at} {os.getpid()} {token} {who}\n".encode())
        time.sleep(0.001)


if __name__ == "__main__":
    main()
