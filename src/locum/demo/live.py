"""How a run is shown: a live picture on a terminal, plain lines elsewhere, nothing for `--json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from locum.demo.orders import Counts
from locum.demo.plan import TTL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from locum.demo.audit import Takeover
    from locum.demo.verdict import Result, Wanted

__all__ = ["Instance", "LiveView", "Picture", "PlainView", "SilentView", "View", "view_for"]

_BAR: Final = 20  # columns for one TTL
_MARKS: Final = {"active": ("●", "bold green"), "stands by": ("○", "cyan"), "frozen": ("■", "blue")}
_SENTENCES: Final = 3


@dataclass(frozen=True, slots=True)
class Instance:
    """One line of the picture.

    Attributes:
        name: The instance's name.
        state: `active`, `stands by`, `frozen` or `starts`.
        detail: What else there is to say.
    """

    name: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Everything that is shown at one moment.

    Attributes:
        wanted: What was asked for.
        elapsed: Seconds since the first order.
        instances: The instances.
        counts: The orders.
        takeovers: Those that were seen.
        sentences: What was done and said, the newest last.
    """

    wanted: Wanted
    elapsed: float
    instances: Sequence[Instance] = ()
    counts: Counts = field(default_factory=Counts)
    takeovers: Sequence[Takeover] = ()
    sentences: Sequence[str] = ()


class View(Protocol):
    """Shows a run."""

    def begin(self, wanted: Wanted) -> None:
        """The run begins."""

    def show(self, picture: Picture) -> None:
        """How it stands."""

    def tell(self, elapsed: float, sentence: str) -> None:
        """Something happened."""

    def end(self) -> None:
        """The run is over, or was given up."""

    def report(self, result: Result, *, is_good: bool) -> None:
        """What the audit found, and whether that is all as it should be."""


class SilentView:
    """Shows nothing."""

    def begin(self, wanted: Wanted) -> None:
        """Show nothing."""

    def show(self, picture: Picture) -> None:
        """Show nothing."""

    def tell(self, elapsed: float, sentence: str) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Show nothing."""

    def report(self, result: Result, *, is_good: bool) -> None:
        """Show nothing."""


class PlainView(SilentView):
    """A line for everything that happens.

    Args:
        console: Where to write.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, wanted: Wanted) -> None:
        """Say what will be done."""
        self._line(f"{_headline(wanted)}.")

    def tell(self, elapsed: float, sentence: str) -> None:
        """Write the sentence."""
        self._line(f"{elapsed:6.1f} s  {sentence}")

    def report(self, result: Result, *, is_good: bool) -> None:
        """Write what was found."""
        self._console.print(_report(result), highlight=False)
        if is_good:
            self._console.print("One worked at any time, and every order was published exactly once.", style="green")

    def _line(self, text: str) -> None:
        self._console.print(text, soft_wrap=True, markup=False, highlight=False)


class LiveView(PlainView):
    """A picture that changes in place.

    Args:
        console: A terminal.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def begin(self, wanted: Wanted) -> None:
        """Take the place for the picture."""
        self._live.start()
        self.show(Picture(wanted=wanted, elapsed=0.0))

    def show(self, picture: Picture) -> None:
        """Draw the picture."""
        self._live.update(draw(picture, height=self._console.height), refresh=True)

    def tell(self, elapsed: float, sentence: str) -> None:
        """Nothing: the picture shows it."""

    def end(self) -> None:
        """Give the place back."""
        self._live.stop()


def view_for(*, as_json: bool) -> View:
    """The view that suits where the output goes."""
    if as_json:
        return SilentView()
    console = Console()
    if console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf"):
        return LiveView(console)
    return PlainView(console)


def draw(picture: Picture, *, height: int) -> RenderableType:
    """The picture, in at most so many lines."""
    fixed = 9 + len(picture.instances) + 2 * _SENTENCES
    room = max(2, height - fixed)
    parts: list[RenderableType] = [
        _head(picture),
        Text(),
        _instances(picture.instances),
        Text(),
        _orders(picture.counts),
        Text(),
        _takeovers(picture.takeovers[-room:], planned=picture.wanted.kills, seen=len(picture.takeovers)),
        Text(),
        *(Text(sentence, style="dim" if place else "", overflow="fold") for place, sentence in _newest(picture)),
    ]
    return Padding(Group(*parts), (0, 1))


def _newest(picture: Picture) -> list[tuple[int, str]]:
    return list(enumerate(reversed(picture.sentences[-_SENTENCES:])))


def _headline(wanted: Wanted) -> str:
    return (
        f"Locum demo: {wanted.instances} instances on SQLite, TTL {TTL:g} s, {wanted.rate:g} orders a second for"
        f" {wanted.seconds:g} s, {wanted.kills} injuries"
    )


def _head(picture: Picture) -> RenderableType:
    wanted, done = picture.wanted, min(1.0, picture.elapsed / picture.wanted.seconds)
    title = Text.assemble(
        ("Locum demo", "bold"),
        (f"  {wanted.instances} instances · SQLite · TTL {TTL:g} s · {wanted.rate:g} orders a second", "dim"),
    )
    line = Table.grid(expand=True)
    line.add_column(ratio=1, no_wrap=True)
    line.add_column(justify="right", no_wrap=True)
    line.add_row(title, Text(f"{min(picture.elapsed, wanted.seconds):.0f} of {wanted.seconds:g} s", style="dim"))
    return Group(line, _Rule(done))


class _Rule:
    """A thin line of which the done part shines."""

    def __init__(self, done: float) -> None:
        self._done = done

    def __rich_console__(self, console: Console, options: object) -> list[Text]:
        width = console.width - 2
        filled = round(self._done * width)
        return [Text.assemble(("━" * filled, "green"), ("─" * (width - filled), "bright_black"))]


def _instances(instances: Sequence[Instance]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for instance in instances:
        mark, style = _MARKS.get(instance.state, ("·", "bright_black"))
        table.add_row(
            Text(f"{mark} {instance.name}", style=style),
            Text(instance.state, style=style),
            Text(instance.detail, style="dim"),
        )
    return table


def _orders(counts: Counts) -> Text:
    return Text.assemble(
        ("orders  ", "dim"),
        f"{counts.created:,} placed",
        ("   ", ""),
        f"{counts.due:,} due",
        ("   ", ""),
        (f"{counts.published:,} published", "green"),
    )


def _takeovers(takeovers: Sequence[Takeover], *, planned: int, seen: int) -> RenderableType:
    head = Text.assemble(("takeovers  ", "dim"), f"{seen} of {planned}")
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for takeover in takeovers:
        table.add_row(
            takeover.kind, Text(f"token {takeover.token}", style="dim"), f"{takeover.ms:,.0f} ms", _bar(takeover.ms)
        )
    return Group(head, Padding(table, (0, 0, 0, 2)))


def _bar(ms: float) -> Text:
    length = max(0.5, min(1.5 * _BAR, ms / (1000 * TTL) * _BAR))
    return Text("━" * int(length) + ("╸" if length % 1 >= 0.5 else ""), style="yellow" if length > _BAR else "green")


def _report(result: Result) -> RenderableType:
    parts: list[RenderableType] = [Text("What the bodies' own rows say", style="bold"), _findings(result)]
    if result.takeovers:
        parts += [Text("From the injury to the successor's first row", style="bold"), _times(result.takeovers)]
    if result.unasked:
        parts += [Text(f"{len(result.unasked)} more takeovers came without an injury (token {result.unasked}).")]
    return Group(Text(), *parts)


def _findings(result: Result) -> RenderableType:
    orders, overlap = result.orders, result.overlap_ms
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    table.add_column()
    table.add_row(f"{orders.created:,}", "orders were placed")
    table.add_row(f"{orders.due:,}", "were due")
    table.add_row(f"{orders.published:,}", "were published")
    for is_wrong, value, name in (
        (orders.lost, f"{orders.lost:,}", "lost"),
        (orders.duplicated, f"{orders.duplicated:,}", "published twice"),
        (result.stale_writes, f"{result.stale_writes:,}", "stale writes accepted"),
        (overlap, f"{overlap:g} ms", "with two bodies at work"),
    ):
        table.add_row(Text(value, style="bold red" if is_wrong else "bold green"), name)
    if result.relayed is not None:
        lost, twice = len(result.relayed.lost), result.relayed.twice
        table.add_row(f"{result.relayed.messages:,}", "messages reached the broker")
        table.add_row(Text(f"{lost:,}", style="bold red" if lost else "bold green"), "orders did not")
        which = f": {', '.join(map(str, twice[:20]))}{' ...' if len(twice) > 20 else ''}" if twice else ""
        table.add_row(f"{len(twice):,}", f"were sent again, for their sender ended before it had marked them{which}")
    return Padding(table, (0, 0, 0, 2))


def _times(takeovers: Sequence[Takeover]) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for kind in dict.fromkeys(takeover.kind for takeover in takeovers):
        times = [takeover.ms for takeover in takeovers if takeover.kind == kind]
        table.add_row(kind, Text(", ".join(f"{ms:,.0f}" for ms in times) + " ms", overflow="fold"))
    return Padding(table, (0, 0, 0, 2))
