"""`python -m locum.testing.declared MODULE:HOST`: what a host declares, for a test that does not import it itself.

A user's module may open databases when it is imported, by what its environment says: so that is done where the
instances do it, in a process of its own, and not in the test's.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Final

from locum import exit_codes
from locum.cli.app import load_host
from locum.errors import ConfigurationError

__all__ = ["Declared", "main"]

_EXCLUSIVE: Final = "active_passive"


@dataclass(frozen=True, slots=True)
class Declared:
    """What a host declares.

    Attributes:
        name: The host's name: the namespace in the store.
        exclusive: The services in which one instance at a time is active.
        everywhere: The services that run on every instance.
    """

    name: str
    exclusive: tuple[str, ...]
    everywhere: tuple[str, ...]

    @classmethod
    def of_text(cls, text: str) -> Declared:
        """What `main` has written."""
        value = json.loads(text)
        return cls(value["name"], tuple(value["exclusive"]), tuple(value["everywhere"]))


def main() -> int:
    """Import the module, and write what its host declares; the exit code."""
    try:
        host = load_host(sys.argv[1])
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return exit_codes.BAD_CONFIGURATION
    services = host.plan.declarations
    declared = Declared(
        host.name,
        tuple(one.name for one in services if one.kind == _EXCLUSIVE),
        tuple(one.name for one in services if one.kind != _EXCLUSIVE),
    )
    sys.stdout.write(json.dumps(asdict(declared)))
    return exit_codes.CLEAN


if __name__ == "__main__":
    sys.exit(main())
