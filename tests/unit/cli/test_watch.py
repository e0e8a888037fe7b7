"""What `status --watch` tells a pipe."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from locum.cli.status import Printer
from locum.views.status import Instance, Status

ONE = Instance(
    name="web-1",
    machine="here",
    session="a" * 32,
    keeper=1,
    worker=2,
    enforcement="kill",
    ttl=6.0,
    beat=1,
    beat_age=0.5,
    parts=(),
)
STATUS = Status(namespace="billing", store="sqlite:///x", instances=(ONE,), services=())


def test_a_beat_alone_is_nothing_new(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(as_json=True)
    printer.tell(STATUS, "")
    printer.tell(replace(STATUS, instances=(replace(ONE, beat=2, beat_age=0.1),)), "")
    printer.tell(replace(STATUS, instances=()), "")
    lines = capsys.readouterr().out.splitlines()
    assert [len(json.loads(line)["instances"]) for line in lines] == [1, 0]


def test_trouble_is_told_once_and_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer(as_json=False)
    printer.tell(None, "the store is away")
    printer.tell(None, "the store is away")
    printer.tell(STATUS, "")
    printer.tell(STATUS, "the store is away")
    out, err = capsys.readouterr()
    assert err == "the store is away\n" * 2
    assert out.count("billing on") == 1
