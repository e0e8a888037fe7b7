"""The worker's beginning: `python -m locum.host.worker MODULE:HOST` imports the user's module and runs its host."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from locum import exit_codes
from locum.errors import ConfigurationError
from locum.host.host import Host
from locum.host.runtime import work
from locum.keeper.control import WORKER_VARIABLE, WorkerEnd

__all__ = ["find_host", "main"]


def find_host(name: str) -> Host:
    """Import the host that `MODULE:NAME` names.

    Raises:
        ConfigurationError: There is none.
    """
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise ConfigurationError(
                f"there is no module {module_name!r} to run: is the current folder the right one?"
            ) from error
        raise
    host = getattr(module, attribute or "host", None)
    if not isinstance(host, Host):
        raise ConfigurationError(f"{module_name} has no host {attribute or 'host'!r}: write host = Host(...) there")
    return host


def main() -> None:
    """Import the user's module, and run its host."""
    if WORKER_VARIABLE not in os.environ:
        sys.stderr.write("this is the worker's half: use `locum run MODULE:HOST`\n")
        raise SystemExit(exit_codes.USAGE)
    sys.path.insert(0, str(Path.cwd()))
    try:
        host = find_host(sys.argv[1])
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(exit_codes.BAD_CONFIGURATION) from error
    # taken only now: a module that calls host.run() while it is imported has become the worker by itself
    end = WorkerEnd.take()
    if end is None:
        raise SystemExit(exit_codes.BAD_CONFIGURATION)
    work(host.plan, end)


if __name__ == "__main__":
    main()
