"""Tables of text: what stands in them is decided here, how they are drawn depends on who reads.

A person at a terminal gets colours and a table that fits; a pipe gets plain columns that never wrap.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType
    from rich.text import Text

__all__ = ["Cell", "Column", "Table", "drawn", "is_terminal", "plain", "show"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        text: What stands in it; may have several lines.
        style: How a terminal shows its first line, in the words of the terminal library; empty for as it is.
    """

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        title: What stands above it.
        right: Whether it is a number, which stands to the right.
        wraps: Whether it gives way where the terminal is narrow.
        least: The narrowest terminal on which it is shown, in characters.
    """

    title: str
    right: bool = False
    wraps: bool = False
    least: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows.

    Attributes:
        columns: The columns.
        rows: The rows, with a cell for each column.
        title: What stands above it; empty for nothing.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    title: str = ""


def is_terminal() -> bool:
    """Whether a person reads along."""
    return sys.stdout.isatty()


def show(heading: str, tables: Sequence[Table], notes: Sequence[str]) -> None:
    """Print tables, for a person or for a pipe."""
    if not is_terminal():
        sys.stdout.write(plain(heading, tables, notes))
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(drawn(heading, tables, notes, width=console.width))


def plain(heading: str, tables: Sequence[Table], notes: Sequence[str]) -> str:
    """Tables as plain text: each row one line, columns two blanks apart, nothing cut off."""
    blocks = [[heading], *([table.title] * bool(table.title) + _lines(table) for table in tables), list(notes)]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def drawn(heading: str, tables: Sequence[Table], notes: Sequence[str], *, width: int) -> RenderableType:
    """Tables for a terminal of so many characters."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text as Line

    parts: list[RenderableType] = [Line(heading, style="bold")]
    parts += [Padding(_drawn(table, width), (1, 0, 0, 0)) for table in tables]
    parts += [
        Padding(Line(note, style="yellow"), (1 if place == 0 else 0, 0, 0, 0)) for place, note in enumerate(notes)
    ]
    return Group(*parts)


def _lines(table: Table) -> list[str]:
    texts = [[column.title.upper() for column in table.columns]]
    texts += [["; ".join(cell.text.splitlines()) for cell in row] for row in table.rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return ["  ".join(_aligned(row, widths, table.columns)).rstrip() for row in texts]


def _aligned(row: Iterable[str], widths: Iterable[int], columns: Iterable[Column]) -> list[str]:
    return [
        text.rjust(width) if column.right else text.ljust(width)
        for text, width, column in zip(row, widths, columns, strict=True)
    ]


def _drawn(table: Table, width: int) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Drawing

    drawing = Drawing(
        box=SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
        border_style="dim",
        title=table.title or None,
        title_justify="left",
        title_style="bold",
    )
    shown = [column.least <= width for column in table.columns]
    for place, column in enumerate(table.columns):
        if shown[place]:
            drawing.add_column(
                column.title,
                justify="right" if column.right else "left",
                overflow="fold",
                no_wrap=not column.wraps,
                min_width=None if column.wraps else _width(table, place),
            )
    for row in table.rows:
        drawing.add_row(*(_text(cell) for cell, is_shown in zip(row, shown, strict=True) if is_shown))
    return drawing


def _width(table: Table, place: int) -> int:
    cells = [line for row in table.rows for line in row[place].text.splitlines()]
    return max(map(len, [table.columns[place].title, *cells]))


def _text(cell: Cell) -> Text:
    from rich.text import Text

    first, line_end, rest = cell.text.partition("\n")
    return Text.assemble((first, cell.style), line_end, rest)
