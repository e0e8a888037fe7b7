"""Commands that look at a server's store make none where there is none, and say so in one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from locum import exit_codes
from locum.cli.main import main
from locum.testing.conformance import demand_server
from tests.faults.kit.places import SERVERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.kit.places import ServerPlace

COMMANDS = (["status"], ["journal"], ["nodes", "ls"], ["resign", "settle"], ["store", "reset", "--yes"])


@pytest.fixture(scope="module", params=sorted(SERVERS))
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerPlace]:
    """An empty store on a server."""
    kind = SERVERS[request.param]
    demand_server(kind.name, kind.is_installed())
    with kind.make(tmp_path_factory.mktemp("server") / "server") as server:
        yield kind(server)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_looking_makes_no_store(place: ServerPlace, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):  # the first one has left nothing behind
        code = main([*command, "--store", place.url, "--namespace", "billing"])
        said = capsys.readouterr()
        assert (code, said.out) == (exit_codes.STORE_UNAVAILABLE, "")
        assert "there is no store yet; start an instance with `locum run`" in said.err
        assert said.err.count("\n") == 1
