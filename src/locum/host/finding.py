"""From `MODULE:HOST` to the host that it names."""

from __future__ import annotations

import importlib

from locum.errors import ConfigurationError
from locum.host.host import Host

__all__ = ["find_host"]


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
