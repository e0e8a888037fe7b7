"""A real small Django project: `manage.py run_locum` runs a service that works with its models."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from locum.identity import parent_of
from tests.docs.pages import programs
from tests.faults.kit.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = """
from pathlib import Path

BASE_DIR = Path(__file__).parent.parent
SECRET_KEY = "of a test"
INSTALLED_APPS = ["locum.integrations.django", "billing"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "orders.db"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
LOCUM_APP = "billing.services:host"
"""
MODELS = """
from django.db import models


class Order(models.Model):
    settled_by = models.CharField(max_length=40, default="")
"""
SERVICES = """
import os

from billing.models import Order
from django.db import close_old_connections

from locum import Host, blocking

host = Host("billing", ttl=2.0)


@host.active_passive(every=0.05, stop_timeout=10)
def settle(term: blocking.Term) -> None:
    close_old_connections()
    for order in Order.objects.filter(settled_by=""):
        term.check()
        order.settled_by = f"{term.instance} {os.getpid()} {term.token}"
        order.save()
"""
MANAGE = """
import os, sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

if __name__ == "__main__":
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose tables are made."""
    for name in ("shop", "billing"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "shop/settings.py").write_text(SETTINGS)
    (tmp_path / "billing/models.py").write_text(MODELS)
    (tmp_path / "billing/services.py").write_text(SERVICES)
    (tmp_path / "manage.py").write_text(MANAGE)
    manage(tmp_path, "makemigrations", "billing")
    manage(tmp_path, "migrate")
    return tmp_path


def manage(project: Path, *arguments: str) -> str:
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_shell(project: Path, line: str) -> str:
    setup = "import django; django.setup(); from billing.models import Order; "
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "shop.settings"}
    command = [sys.executable, "-c", setup + line]
    return subprocess.run(
        command, cwd=project, env=environment, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_a_service_works_with_the_projects_models(project: Path) -> None:
    processes = []
    try:
        for name in ("web-1", "web-2"):
            with (project / f"{name}.out").open("wb") as output:
                command = [sys.executable, "manage.py", "run_locum", "--name", name, "--ttl", "3"]
                processes.append(subprocess.Popen(command, cwd=project, stdout=output, stderr=subprocess.STDOUT))

        def said(words: str) -> list[int]:
            return [place for place in (0, 1) if words in (project / f"web-{place + 1}.out").read_text()]

        until(lambda: said("(token 1)"), "an active one")
        (active,) = said("(token 1)")
        assert "TTL 3 s" in (project / f"web-{active + 1}.out").read_text()
        in_shell(project, "Order.objects.create()")
        until(lambda: in_shell(project, "print(Order.objects.get().settled_by)"), "an order to be settled", pause=0.2)
        name, worker, token = in_shell(project, "print(Order.objects.get().settled_by)").split()
        assert (name, token) == (f"web-{active + 1}", "1")
        keeper = parent_of(int(worker)) or 0
        assert parent_of(keeper) == processes[active].pid, "it stands under a keeper"

        os.kill(int(worker), signal.SIGKILL)
        until(lambda: said("(token 2)") == [1 - active], "the other one to take over")
        for process in processes:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(30) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_the_project_of_the_page(project: Path) -> None:
    """The page's settings and services, in a project whose orders are as it has them."""
    settings, services = programs("docs/how-to/django.md")
    base = SETTINGS.partition("INSTALLED_APPS")[0], SETTINGS.partition('"billing"]\n')[2].partition("LOCUM_APP")[0]
    (project / "shop/settings.py").write_text(f"{''.join(base)}{settings}INSTALLED_APPS += ['billing']\n")
    (project / "billing/models.py").write_text(MODELS + "    settled = models.BooleanField(default=False)\n")
    (project / "billing/services.py").write_text(services.replace("/var/lib/billing", str(project)))
    manage(project, "makemigrations", "billing")
    manage(project, "migrate")
    in_shell(project, "Order.objects.create()")
    with (project / "out").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "run_locum"], cwd=project, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        until(
            lambda: in_shell(project, "print(Order.objects.get().settled)") == "True",
            "an order to be settled",
            pause=0.2,
        )
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere:host"], "there is no module 'nowhere' to run"),
        (["billing.models:host"], "billing.models has no host 'host'"),
    ],
)
def test_what_cannot_run_is_one_readable_error_and_78(project: Path, arguments: list[str], words: str) -> None:
    command = [sys.executable, "manage.py", "run_locum", *arguments]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
