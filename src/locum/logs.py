"""Log lines: whose they are, and how they look on a terminal or in a collector.

What a line belongs to (`instance`, `service`, `role`, `token`, `attempt`) is bound where a body begins, and follows it
into every task that it starts. The standard library does the rest; structlog is used if the user's code does.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

__all__ = [
    "LOG_FORMATS",
    "LOG_LEVELS",
    "BoundFields",
    "ConsoleFormatter",
    "JsonFormatter",
    "add_bound",
    "bound",
    "bound_fields",
    "log_to_console",
]

LOG_FORMATS: Final = ("console", "json")
LOG_LEVELS: Final = ("debug", "info", "warning", "error", "critical")

_bound: ContextVar[dict[str, object] | None] = ContextVar("locum_bound", default=None)
_KNOWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "bound"}
_COLOURS: Final = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[31;1m"}
_DIM, _PLAIN = "\033[2m", "\033[0m"


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Every line that is logged in the block, and in what it starts, belongs to this; `None` binds nothing."""
    kept = {name: value for name, value in fields.items() if value is not None}
    before = _bound.set({**bound_fields(), **kept})
    try:
        yield
    finally:
        _bound.reset(before)


def bound_fields() -> dict[str, object]:
    """What lines belong to here."""
    return _bound.get() or {}


def add_bound(logger: object, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor for those who set structlog up themselves: adds what a line belongs to."""
    del logger, method
    for name, value in bound_fields().items():
        event.setdefault(name, value)
    return event


class BoundFields(logging.Filter):
    """For a handler of one's own: sets `record.bound`, in the thread that logs.

    Args:
        fields: What every line belongs to, wherever it is logged.
    """

    def __init__(self, **fields: object) -> None:
        super().__init__()
        self._fields = fields

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record through."""
        if not hasattr(record, "bound"):
            record.bound = {**self._fields, **bound_fields()}
        return True


class ConsoleFormatter(logging.Formatter):
    """One line for people: the time, the level where it is worth a look, the text, and what it belongs to.

    Args:
        colours: Whether the terminal shows them.
    """

    def __init__(self, *, colours: bool = False) -> None:
        super().__init__("%(asctime)s %(message)s", datefmt="%H:%M:%S")
        self._colours = colours

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """The line, without a traceback."""
        text = super().formatMessage(record)
        time, _, message = text.partition(" ")
        level = f"{record.levelname} " if record.levelno >= logging.WARNING else ""
        fields = {**_bound_to(record), **_extras(record)}
        fields.pop("instance", None)  # one terminal, one instance: it would only make lines longer
        after = "".join(f" {name}={_quoted(value)}" for name, value in fields.items())
        if self._colours:
            level = f"{_COLOURS.get(record.levelname, '')}{level}{_PLAIN}" if level else ""
            after = f"{_DIM}{after}{_PLAIN}" if after else ""
        return f"{time} {level}{message}{after}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (UTC), `level`, `logger`, `message`, what it belongs to, extras, `error`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
            **_bound_to(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def log_to_console(form: str = "console", level: str | None = None, **fields: object) -> None:
    """Log to stderr, unless the user has set logging up.

    Args:
        form: `console` or `json`.
        level: The least level; `None` for `info` of Locum and of services, and `warning` of everybody else.
        fields: What every line belongs to.
    """
    root = logging.getLogger()
    ours = [handler for handler in root.handlers if isinstance(handler, _Console)]
    if root.handlers and not ours:
        return
    handler = ours[0] if ours else _Console(sys.stderr)
    handler.setFormatter(
        JsonFormatter() if form == "json" else ConsoleFormatter(colours=getattr(handler.stream, "isatty", bool)())
    )
    handler.filters = [BoundFields(**fields)]
    if not ours:
        root.addHandler(handler)
    root.setLevel((level or "warning").upper())
    logging.getLogger("locum").setLevel((level or "info").upper())
    _structlog_to_stdlib()


class _Console(logging.StreamHandler[Any]):
    """The handler that is ours, and may be set up again."""


def _structlog_to_stdlib() -> None:
    """Let structlog's lines go the same way, if the user's code has loaded it and has not set it up."""
    structlog: Any = sys.modules.get("structlog")
    if structlog is None or structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.render_to_log_kwargs,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _bound_to(record: logging.LogRecord) -> dict[str, object]:
    found: dict[str, object] = getattr(record, "bound", None) or bound_fields()
    return found


def _extras(record: logging.LogRecord) -> dict[str, object]:
    bound_to = _bound_to(record)
    return {name: value for name, value in vars(record).items() if name not in _KNOWN and name not in bound_to}


def _quoted(value: object) -> str:
    text = str(value)
    return (
        json.dumps(text, ensure_ascii=False) if not text or any(one.isspace() or one in '"=' for one in text) else text
    )
