"""What `status --watch` tells a pipe."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from locum.cli.looking import Place, looking_at
from locum.cli.picture import notes
from locum.cli.status import Printer, _look
from locum.clock import Clock
from locum.errors import StoreUnavailableError
from locum.views.status import Instance, Status
from tests.unit.kit import opened

if TYPE_CHECKING:
    from pathlib import Path

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


def test_a_quarantine_is_told_with_what_ends_it() -> None:
    (note,) = notes(replace(STATUS, quarantine=8.0))
    assert note.startswith("The store is in quarantine")
    assert "watched it for 8 s" in note


def wipe(folder: Path) -> None:
    for one in folder.iterdir():
        one.unlink()


async def test_a_look_goes_on_in_a_store_that_was_exchanged(tmp_path: Path) -> None:
    path, clock = tmp_path / "store.db", Clock()
    place = Place(f"sqlite:///{path}", "billing")
    async with opened(path):
        pass
    async with looking_at(place, clock=clock) as store:
        await _look(place, store, clock)
        wipe(tmp_path)
        with pytest.raises(StoreUnavailableError, match="there is no store yet"):
            await _look(place, store, clock)
        async with opened(path):
            assert (await _look(place, store, clock)).instances == ()
