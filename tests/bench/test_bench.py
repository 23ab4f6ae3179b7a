"""The bench itself, at sizes whose figures mean nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_a_tiny_run_measures_the_contenders_and_none_is_wrong(tmp_path: Path) -> None:
    """Each contender's output is right and complete, and has a rate and a cost; Java's only where it is."""
    field = ["ours", "bare", "kafka-streams"]
    results = tmp_path / "results.json"
    run = subprocess.run(
        [
            *(sys.executable, "-m", "bench", "--tiny", "--only", "known", "--results", results),
            *("--contenders", ",".join(field)),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(results.read_text())
    rounds = {each["contender"]: each for each in found["scenarios"]["known"]["rounds"]}
    assert rounds.keys() == set(field) - found["skipped"].keys()
    assert {"ours", "bare"} <= rounds.keys()
    for each in rounds.values():
        assert each["problems"] == []
        assert each["figures"]["rate"] > 0
        assert "cpu_us" in each["figures"]  # the kernel counts in ticks: for so few it may be none
    assert "goals" in run.stdout
