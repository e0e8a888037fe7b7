"""Every block of every page is run by a test, or compared with what was really said: the table says which."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import ROOT

DOCS = ROOT / "docs"
_DRAWING: Final = "a drawing"

# by page and language: how many blocks, and the tests that go through them
BLOCKS: Final[dict[tuple[str, str], tuple[int, str]]] = {
    ("explanation/design.md", "text"): (1, _DRAWING),
    ("how-to/django.md", "console"): (1, "faults/test_django.py:test_the_project_of_the_page"),
    ("how-to/doctor.md", "console"): (1, "docs/test_shown.py:test_the_page_on_the_doctor"),
    ("how-to/fences.md", "text"): (1, "docs/test_shown.py:test_the_commands_on_the_table_of_fences"),
    ("how-to/health.md", "console"): (1, "docs/test_shown.py:test_the_page_on_health"),
    ("how-to/health.md", "sh"): (1, "docs/test_shown.py:test_the_page_on_health"),
    ("how-to/health.md", "text"): (1, "docs/test_shown.py:test_the_load_balancer_of_the_page_follows_the_active_one"),
    ("how-to/jobs.md", "text"): (1, "docs/test_shown.py:test_the_commands_on_jobs"),
    ("how-to/jobs-slices.md", "text"): (1, "docs/test_shown.py:test_the_progress_of_slices"),
    ("how-to/kubernetes.md", "yaml"): (1, "docs/test_operations.py:test_kubernetes_has_nothing_against_the_manifest"),
    ("how-to/logging.md", "json"): (1, "docs/test_host_pages.py:test_the_page_on_logging"),
    ("how-to/logging.md", "text"): (1, "docs/test_host_pages.py:test_the_page_on_logging"),
    ("how-to/nodes.md", "text"): (1, "docs/test_shown.py:test_the_commands_on_nodes"),
    ("how-to/offline-install.md", "console"): (4, "docs/test_offline_install.py:test_the_page_on_installing_offline"),
    ("how-to/restore-a-store.md", "console"): (1, "docs/test_shown.py:test_the_page_on_restoring_a_store"),
    ("how-to/restore-a-store.md", "text"): (1, "docs/test_shown.py:test_the_page_on_restoring_a_store"),
    ("how-to/run-a-command.md", "text"): (1, "docs/test_shown.py:test_the_page_on_running_a_command"),
    ("how-to/settings.md", "console"): (2, "docs/test_shown.py:test_the_page_on_settings_shows_each_with_its_origin"),
    ("how-to/settings.md", "toml"): (1, "docs/test_host_pages.py:test_the_page_on_settings"),
    ("how-to/stopping-and-exit-codes.md", "ini"): (
        1,
        "docs/test_operations.py:test_systemd_has_nothing_against_the_unit",
    ),
    ("how-to/streams.md", "text"): (1, "faults/test_streams.py:streaming"),
    ("how-to/systemd.md", "ini"): (1, "docs/test_operations.py:test_systemd_has_nothing_against_the_unit"),
    ("how-to/stateful-services.md", "console"): (1, "docs/test_service_with_state.py:test_the_commands_on_partitions"),
    ("how-to/test-your-failover.md", "console"): (2, "docs/test_failover.py:test_the_test_of_the_page"),
    ("how-to/transfer-and-resign.md", "console"): (1, "docs/test_shown.py:test_the_page_on_transfers"),
    ("how-to/write-a-store.md", "toml"): (1, "docs/test_write_a_store.py:test_the_harness_of_the_page"),
    ("proof/model.md", "sh"): (1, "model/test_model.py:test_the_commands_of_the_page_show_a_counter_example"),
    ("reference/commands.md", "toml"): (1, "docs/test_shown.py:test_the_page_on_the_doctor"),
    ("stores/postgresql.md", "console"): (1, "docs/test_shown.py:test_each_extra_that_a_page_installs_is_there"),
    ("stores/postgresql.md", "sql"): (
        2,
        "unit/stores/sql/test_rights.py:granted"
        " unit/coordination/test_fence_postgresql.py:test_the_table_and_the_rights_of_the_stores_page_suffice",
    ),
    ("stores/redis.md", "console"): (1, "docs/test_shown.py:test_each_extra_that_a_page_installs_is_there"),
    ("stores/redis.md", "text"): (
        3,
        "docs/test_shown.py:test_the_settings_of_redis_are_those_of_its_tests servers/redis.py:documented",
    ),
    ("stores/sqlite.md", "console"): (2, "docs/test_shown.py:test_a_backup_of_sqlite_is_put_back_as_its_page_says"),
    ("stores/zookeeper.md", "console"): (1, "docs/test_shown.py:test_each_extra_that_a_page_installs_is_there"),
    ("stores/zookeeper.md", "text"): (1, "unit/stores/zookeeper/test_rights.py:root_of"),
    ("tutorial/first-service.md", "console"): (7, "docs/test_first_service.py:test_the_tutorial"),
    ("tutorial/first-service.md", "text"): (2, "docs/test_first_service.py:test_the_tutorial"),
    ("tutorial/scheduled-jobs.md", "console"): (6, "docs/test_scheduled_jobs.py:test_the_tutorial_on_jobs"),
    ("tutorial/scheduled-jobs.md", "text"): (1, "docs/test_scheduled_jobs.py:test_the_tutorial_on_jobs"),
    ("tutorial/service-with-state.md", "console"): (5, "docs/test_service_with_state.py:test_the_tutorial_on_state"),
    ("tutorial/service-with-state.md", "text"): (1, "docs/test_service_with_state.py:test_the_tutorial_on_state"),
}


def test_every_block_is_in_the_table() -> None:
    """Programs in Python have a rule of their own (test_pages.py)."""
    found: Counter[tuple[str, str]] = Counter()
    for page in DOCS.rglob("*.md"):
        marks = re.findall(r"^```(.*)$", page.read_text(), re.MULTILINE)
        found.update((str(page.relative_to(DOCS)), mark.split()[0] if mark else "") for mark in marks[::2])
    assert {key: many for key, many in found.items() if key[1] != "python"} == {
        key: many for key, (many, _) in BLOCKS.items()
    }


@pytest.mark.parametrize(
    "test", sorted({test for _, tests in BLOCKS.values() if tests != _DRAWING for test in tests.split()})
)
def test_the_test_is_there_and_reads_the_page(test: str) -> None:
    room, _, name = test.partition(":")
    path = ROOT / "tests" / room
    text = path.read_text()
    assert name in {
        one.name for one in ast.walk(ast.parse(text)) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    pages = {Path(page).name for (page, _), (_, tests) in BLOCKS.items() if test in tests.split()}
    if "test_each_extra" not in name:  # that reads them all
        assert [page for page in sorted(pages) if page not in text] == []
