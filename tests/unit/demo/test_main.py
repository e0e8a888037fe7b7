"""What cannot be run is said before anything starts."""

import pytest

from locum import exit_codes
from locum.demo.main import run_demo
from locum.demo.settings import DemoSettings


@pytest.mark.parametrize(
    ("seconds", "kills", "instances", "word"),
    [(5.0, 4, 3, "9.5 s"), (30.0, 4, 1, "two instances"), (0.0, 0, 3, "some seconds")],
)
def test_what_does_not_fit_is_refused(
    seconds: float, kills: int, instances: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_demo(seconds=seconds, kills=kills, settings=DemoSettings(), instances=instances, as_json=True)
    said = capsys.readouterr()
    assert code == exit_codes.USAGE
    assert said.out == ""
    assert word in said.err
