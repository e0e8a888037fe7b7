"""Where the files of one run of the demo are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from locum.errors import ConfigurationError

__all__ = ["DEMO_VARIABLE", "FOLDER_VARIABLE", "Folder"]

FOLDER_VARIABLE: Final = "LOCUM_DEMO_FOLDER"
"""The environment variable by which the instances find the folder of their run."""

DEMO_VARIABLE: Final = "LOCUM_DEMO_PID"
"""The environment variable by which the instances know the demo that started them."""


class Folder:
    """The files of one run.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of_this_run(cls) -> Folder:
        """The folder that the environment names.

        Raises:
            ConfigurationError: It names none: this is no instance of the demo.
        """
        name = os.environ.get(FOLDER_VARIABLE)
        if not name:
            raise ConfigurationError(f"{FOLDER_VARIABLE} names no folder: `locum demo` starts these instances itself")
        return cls(Path(name))

    @property
    def orders(self) -> Path:
        """The orders database."""
        return self.path / "orders.db"

    @property
    def trace(self) -> Path:
        """The rows by which the bodies show that they run."""
        return self.path / "trace"

    @property
    def terms(self) -> Path:
        """The terms that began, one JSON object a line: for the view, never for the audit."""
        return self.path / "terms"

    @property
    def store_url(self) -> str:
        """The store through which the instances agree, if no other one is named."""
        return f"sqlite:///{self.path / 'demo.locum.db'}"

    def log(self, name: str) -> Path:
        """What an instance, or the generator, says on its console."""
        return self.path / f"{name}.log"
