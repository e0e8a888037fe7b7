"""The programs and files that stand in the pages."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["ROOT", "programs"]

ROOT = Path(__file__).parents[2]


def programs(page: str, language: str = "python") -> list[str]:
    """The blocks of a language in a page, which is named by its path from the root, such as `docs/index.md`."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\b[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
