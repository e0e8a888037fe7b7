"""The picture: each takeover a dot on a logarithmic axis of time, and beside it whether two worked at once."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Final

from benchmarks.figures import time_text
from benchmarks.takeover import KINDS
from benchmarks.takeover.results import is_ours

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.takeover.results import Row

__all__ = ["draw"]

_WIDTH: Final = 1220
_LEFT, _RIGHT = 250, 790  # of the axis
_LINE: Final = 27
_HEAD: Final = 118
_INK, _MUTED, _FAINT = "#1f2937", "#6b7280", "#e5e7eb"
_OURS, _THEIRS, _BAD = "#2f9e63", "#5b7aa8", "#c2410c"
_DECADES: Final = (0.1, 1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0)  # ms

_READ: Final = (
    "Three processes each, of which the active one writes a row every millisecond. A dot: from the signal to the"
    " successor's first row."
)


def draw(rows: Sequence[Row], *, ttl: float, least: float | None, notes: Sequence[str]) -> str:
    """An SVG of all rows.

    Args:
        rows: As they are to stand below each other.
        ttl: Of all subjects, in seconds.
        least: What a takeover after a death needs at least on this machine, in ms.
        notes: Lines to stand below: what was measured on, who is missing and why.
    """
    axis = _Axis([*(value for row in rows for value in row.values), ttl * 1000, *([least] if least else [])])
    body = list(_body(rows, axis))
    bottom = _HEAD + _LINE * (len(rows) + len({row.case.kind for row in rows})) + 10
    height = bottom + 34 + 18 * len(notes)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"'
            ' font-family="Helvetica, Arial, sans-serif" font-size="14">',
            f'  <rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
            _text(30, 34, "How soon another one works, and whether two work at once", _INK, size=18, bold=True),
            _text(30, 56, f"{_READ} TTL {ttl:g} s for all.", _MUTED),
            *_scale(axis, bottom),
            *_mark(axis, ttl * 1000, f"TTL {ttl:g} s", bottom),
            *(_mark(axis, least, f"least after a death {time_text(least)}", bottom) if least else ()),
            _text(_RIGHT + 24, 98, "median", _MUTED, bold=True),
            _text(_RIGHT + 90, 98, "p99", _MUTED, bold=True),
            _text(_RIGHT + 156, 98, "n", _MUTED, bold=True),
            _text(_RIGHT + 190, 98, "two at once", _MUTED, bold=True),
            *body,
            *(_text(30, bottom + 42 + 18 * at, note, _MUTED, size=12) for at, note in enumerate(notes)),
            "</svg>",
            "",
        ]
    )


class _Axis:
    """Where a time stands."""

    def __init__(self, values: Sequence[float]) -> None:
        least, most = min(values) / 1.3, max(values) * 1.3
        self._low, self._high = math.log10(least), math.log10(most)
        self.decades = [decade for decade in _DECADES if least <= decade <= most]

    def __call__(self, ms: float) -> float:
        part = (math.log10(max(ms, 1e-3)) - self._low) / (self._high - self._low)
        return round(_LEFT + part * (_RIGHT - _LEFT), 1)


def _body(rows: Sequence[Row], axis: _Axis) -> Iterator[str]:
    y, kind = _HEAD, ""
    for row in rows:
        if row.case.kind != kind:
            kind = row.case.kind
            yield f'  <rect x="28" y="{y + 3}" width="{_RIGHT - 28}" height="21" fill="#ffffff"/>'  # no line through it
            yield _text(30, y + 18, KINDS[kind], _INK, bold=True)
            y += _LINE
        yield from _strip(row, axis, y + _LINE / 2)
        y += _LINE


def _strip(row: Row, axis: _Axis, y: float) -> Iterator[str]:
    colour, figure, base = _OURS if is_ours(row.case) else _THEIRS, row.takeover, y + 5
    yield _text(46, base, row.case.label, colour if is_ours(row.case) else _INK, bold=is_ours(row.case))
    left, right = axis(figure.min), axis(figure.max)
    yield f'  <line x1="{left}" y1="{y}" x2="{right}" y2="{y}" stroke="{colour}" stroke-opacity="0.35"/>'
    low, wide = axis(figure.p25), max(1.0, axis(figure.p75) - axis(figure.p25))
    yield f'  <rect x="{low}" y="{y - 6}" width="{wide:.1f}" height="12" fill="{colour}" fill-opacity="0.25"/>'
    dots = "".join(f"M{axis(value)} {y}h0" for value in row.values)  # a line without length, with round ends: a dot
    yield f'  <path d="{dots}" stroke="{colour}" stroke-width="5" stroke-linecap="round" stroke-opacity="0.45"/>'
    middle = axis(figure.p50)
    yield f'  <line x1="{middle}" y1="{y - 9}" x2="{middle}" y2="{y + 9}" stroke="{colour}" stroke-width="3"/>'
    yield _text(_RIGHT + 24, base, time_text(figure.p50), _INK)
    yield _text(_RIGHT + 90, base, time_text(figure.p99), _INK)
    yield _text(_RIGHT + 156, base, str(figure.n), _INK)
    yield _text(_RIGHT + 190, base, row.overlap_text, _BAD if row.overlapped else _MUTED, bold=bool(row.overlapped))


def _scale(axis: _Axis, bottom: float) -> Iterator[str]:
    for decade in axis.decades:
        x = axis(decade)
        yield f'  <line x1="{x}" y1="{_HEAD - 10}" x2="{x}" y2="{bottom}" stroke="{_FAINT}"/>'
        yield _text(x, bottom + 16, time_text(decade), _MUTED, size=12, anchor="middle")


def _mark(axis: _Axis, ms: float, words: str, bottom: float) -> Iterator[str]:
    x = axis(ms)
    yield f'  <line x1="{x}" y1="{_HEAD - 12}" x2="{x}" y2="{bottom}" stroke="{_INK}" stroke-dasharray="5 4"/>'
    yield _text(x, _HEAD - 20, words, _INK, size=12, anchor="middle")


def _text(x: float, y: float, words: str, colour: str, *, size: int = 0, bold: bool = False, anchor: str = "") -> str:
    options = (f' font-size="{size}"' if size else "") + (' font-weight="bold"' if bold else "")
    options += f' text-anchor="{anchor}"' if anchor else ""
    return f'  <text x="{x:g}" y="{y:g}" fill="{colour}"{options}>{escape(words)}</text>'
