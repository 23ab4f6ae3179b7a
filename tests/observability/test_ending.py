"""A worker that has to end ends in time, whatever one of its parts waits for."""

import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.observability.test_crash import run


@pytest.mark.parametrize("way", ["hangs", "stands still"])
def test_a_worker_that_was_told_to_end_does(way: str) -> None:
    """A part that never stops, or an event loop that stands still: cut off, exit code 0, the rest counted."""
    code, output = run(way)
    *_, cut_off, left = map(orjson.loads, output.splitlines())
    assert code == 0
    assert (cut_off["event"], left["event"]) == ("cut_off", "left_to_successor")
    assert left["message"].startswith("of the records that this worker took, 7 are left")


def test_a_crashed_worker_ends_though_a_part_never_stops() -> None:
    """Its exit code is not 0, and its last line is the reason."""
    code, output = run("fails and hangs")
    assert code == 1
    assert [orjson.loads(line)["event"] for line in output.splitlines()[-3:]] == [
        "cut_off",
        "left_to_successor",
        "crashed",
    ]


def test_an_error_while_ending_is_no_crash() -> None:
    """The worker did what it was told: exit code 0, and a warning."""
    code, output = run("fails while ending")
    assert (code, '"event":"crashed"' in output, '"event":"ending_failed"' in output) == (0, False, True)


def test_a_worker_ends_though_nobody_reads_its_log() -> None:
    """A full pipe stops each line for ever, the last one too."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.observability.crashing_worker", "nobody reads"],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    ) as worker:
        try:
            assert worker.wait(60) == 0
        finally:
            worker.kill()
