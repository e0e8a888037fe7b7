"""`manage.py run_locum`: one instance of a host, under a keeper, with Django set up in its worker.

The command runs twice, like any program that calls `host.run()`: the first time this process becomes the keeper, which
imports neither Django nor anything of the user's; the second time it is the worker.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from locum.errors import LocumError
from locum.host.finding import find_host
from locum.host.settings import INSTANCE_VARIABLE, STORE_VARIABLE, TTL_VARIABLE

if TYPE_CHECKING:
    from django.core.management.base import CommandParser

__all__ = ["Command"]


class Command(BaseCommand):
    """Runs an instance of a host until it is told to stop."""

    help = "Run one instance of a Locum host: MODULE:HOST, or what LOCUM_APP names in the settings."
    requires_system_checks = ()  # once is enough: the worker is the second run of this command

    def add_arguments(self, parser: CommandParser) -> None:
        """The same as those of `locum run`."""
        parser.add_argument("app", metavar="MODULE:HOST", nargs="?", help="settings.LOCUM_APP if it is not given")
        parser.add_argument("--name", help="the instance's name")
        parser.add_argument("--store", metavar="URL", help="the store that all instances share")
        parser.add_argument(
            "--ttl", metavar="S", help="seconds until an instance that cannot be seen is taken for lost"
        )
        parser.add_argument(
            "--embedded", action="store_true", help="run in this one process, without a keeper above it"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run; does not return but for an error.

        Raises:
            CommandError: There is no such host, or it cannot run; the exit code is that of `locum run`.
        """
        del args
        app = options["app"] or getattr(settings, "LOCUM_APP", None)
        if not app:
            raise CommandError("no host is named: give MODULE:HOST, or set LOCUM_APP in the settings", returncode=78)
        for option, variable in (("name", INSTANCE_VARIABLE), ("store", STORE_VARIABLE), ("ttl", TTL_VARIABLE)):
            if options[option] is not None:
                os.environ[variable] = options[option]
        try:
            find_host(app if ":" in app else f"{app}:host").run(embedded=options["embedded"])
        except LocumError as error:
            raise CommandError(str(error), returncode=78) from error
