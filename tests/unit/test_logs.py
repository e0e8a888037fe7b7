"""Whose a line is, how it looks, and that structlog's lines go the same way."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from locum.logs import BoundFields, ConsoleFormatter, JsonFormatter, add_bound, bound, bound_fields
from locum.threads import OwnThread


def record(text: str, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.getLogger("test").makeRecord("billing", level, "file", 1, text, (), None, extra=dict(extra) or None)
    BoundFields(instance="web-1").filter(made)
    return made


async def test_what_is_bound_follows_into_tasks_and_the_bodys_thread_and_ends_with_the_block() -> None:
    async def inside() -> dict[str, object]:
        return bound_fields()

    thread = OwnThread("test")
    with bound(service="settle", token=7, role=None):
        assert await asyncio.wait_for(inside(), 5) == {"service": "settle", "token": 7}
        assert await thread.call(bound_fields) == {"service": "settle", "token": 7}
        with bound(attempt=2):
            assert bound_fields()["attempt"] == 2
        assert "attempt" not in bound_fields()
    assert bound_fields() == {}
    thread.close()


def test_two_bodies_do_not_mix() -> None:
    async def body(name: str, seen: list[object]) -> None:
        with bound(service=name):
            await asyncio.sleep(0)
            seen.append((name, bound_fields()["service"]))

    async def both() -> list[object]:
        seen: list[object] = []
        await asyncio.gather(body("a", seen), body("b", seen))
        return seen

    assert asyncio.run(both()) == [("a", "a"), ("b", "b")]


def test_a_line_for_a_collector_is_one_json_object() -> None:
    with bound(service="settle", role="active", token=7, attempt=1):
        made = record("one\norder", logging.WARNING, order=42)
    text = JsonFormatter().format(made)
    assert "\n" not in text
    line = json.loads(text)
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "warning",
        "logger": "billing",
        "message": "one\norder",
        "order": 42,
        "instance": "web-1",
        "service": "settle",
        "role": "active",
        "token": 7,
        "attempt": 1,
    }


def test_an_error_is_a_field_of_its_line() -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        made = record("failed")
        made.exc_info = sys.exc_info()
    line = json.loads(JsonFormatter().format(made))
    assert line["error"].endswith("ValueError: boom")


def test_a_line_for_people_is_short_where_nothing_is_wrong() -> None:
    with bound(service="settle", token=7):
        said, warned = record("settled"), record("late", logging.WARNING, order="a b")
    assert ConsoleFormatter().format(said)[8:] == " settled service=settle token=7"
    assert ConsoleFormatter().format(warned)[8:] == ' WARNING late service=settle token=7 order="a b"'
    assert ConsoleFormatter().format(record("plain"))[8:] == " plain"
    assert "\033[" in ConsoleFormatter(colours=True).format(warned)


def test_what_was_bound_where_it_was_logged_counts_and_not_where_it_is_written() -> None:
    with bound(service="settle"):
        made = record("settled")
    with bound(service="other"):
        assert json.loads(JsonFormatter().format(made))["service"] == "settle"


def test_a_processor_for_those_who_have_structlog_set_up() -> None:
    with bound(service="settle", token=7):
        assert add_bound(None, "info", {"event": "x", "token": 3}) == {"event": "x", "token": 3, "service": "settle"}


@pytest.mark.parametrize("imported", [True, False])
def test_structlog_goes_the_same_way_if_it_is_used(imported: bool) -> None:
    line = _run(
        f"""
        {"import structlog" if imported else ""}
        import logging, sys
        from locum.logs import bound, log_to_console
        log_to_console("json", instance="web-1")
        with bound(service="settle"):
            if "structlog" in sys.modules:
                structlog.get_logger("orders").warning("late", order=42)
            else:
                logging.getLogger("orders").warning("late", extra={{"order": 42}})
        """
    )
    line.pop("time")
    assert line == {
        "level": "warning",
        "logger": "orders",
        "message": "late",
        "order": 42,
        "instance": "web-1",
        "service": "settle",
    }


def test_structlog_that_the_user_has_set_up_is_left_alone() -> None:
    _run(
        """
        import structlog
        structlog.configure(processors=[structlog.processors.JSONRenderer()])
        before = structlog.get_config()["processors"]
        from locum.logs import log_to_console
        log_to_console()
        assert structlog.get_config()["processors"] is before
        import sys; sys.stderr.write("{}")
        """
    )


def test_logging_that_the_user_has_set_up_is_left_alone() -> None:
    _run(
        """
        import logging, sys
        logging.basicConfig(level=logging.ERROR)
        from locum.logs import log_to_console
        log_to_console("json", "debug")
        assert len(logging.getLogger().handlers) == 1 and logging.getLogger().level == logging.ERROR
        sys.stderr.write("{}")
        """
    )


@pytest.mark.parametrize(("level", "heard"), [(None, ["locum"]), ("debug", ["locum", "other"]), ("error", [])])
def test_the_least_level(level: str | None, heard: list[str]) -> None:
    lines = _output(
        f"""
        import logging
        from locum.logs import log_to_console
        log_to_console("json", {level!r})
        logging.getLogger("locum.service.settle").info("x")
        logging.getLogger("other").info("x")
        """
    )
    assert [json.loads(line)["logger"].partition(".")[0] for line in lines] == heard


def _run(program: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_output(program)[0])
    return found


def _output(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()
