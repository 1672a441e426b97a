"""Sessions that come and go, or stand open by the thousand, leave nothing behind."""

import subprocess
import sys
from pathlib import Path

import pytest

GROWING = Path(__file__).parent / "growing.py"
SLACK = 128 * 1_024
"""Bytes by which what is kept may differ, as dicts grow by leaps: not one small object a session."""


@pytest.mark.parametrize("way", ["one_after_another", "left_to_be_collected", "at_once"])
@pytest.mark.no_cover
def test_ten_times_as_many_take_no_more(way):
    run = subprocess.run(  # noqa: S603
        [sys.executable, str(GROWING), way], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < SLACK
