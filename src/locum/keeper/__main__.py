"""`python -m locum.keeper -- COMMAND...`: keep the worker that COMMAND starts."""

from __future__ import annotations

import logging
import os
import sys

from locum import exit_codes
from locum.keeper.guardian import COMPLETED, is_of_a_crew, stand_guard

__all__: list[str] = []


def main() -> int:
    """Run the keeper; its exit code."""
    command = sys.argv[1:]
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        sys.stderr.write("usage: python -m locum.keeper -- COMMAND...\n")
        return exit_codes.USAGE
    of_crew = is_of_a_crew()
    stand_guard()
    # only now, in the child: the guardian stays small
    from locum.keeper.process import Keeper
    from locum.scopes import run

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)

    async def keep() -> int:
        keeper = Keeper(command)
        code = await keeper.run()
        return COMPLETED if of_crew and keeper.completed and code == exit_codes.SERVICE_FAILED else code

    return run(keep())


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # a thread that hangs in the kernel must not hold the exit
