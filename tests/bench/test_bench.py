"""The bench itself, at sizes whose figures mean nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_a_tiny_run_measures_the_contenders_and_none_is_wrong(tmp_path: Path) -> None:
    """Each contender's output is right and complete, and has a rate and a cost; Java's only where it is."""
    field = ["ours", "bare", "c-loop", "kafka-streams"]
    found = _tiny(tmp_path, "known", *field)
    rounds = {each["contender"]: each for each in found["scenarios"]["known"]["rounds"]}
    assert rounds.keys() == set(field) - found["skipped"].keys()
    assert {"ours", "bare"} <= rounds.keys()
    for each in rounds.values():
        assert each["problems"] == []
        assert each["figures"]["rate"] > 0
        assert "cpu_us" in each["figures"]  # the kernel counts in ticks: for so few it may be none


def test_a_tiny_run_measures_two_workers_an_idle_one_and_handovers(tmp_path: Path) -> None:
    """Two share what is filled when both are there; each event of a handover has its silences."""
    found = _tiny(tmp_path, "workers,idle,handover", "ours")["scenarios"]
    rounds = [each for scenario in found.values() for each in scenario["rounds"]]
    assert [each["problems"] for each in rounds] == [[]] * len(rounds)
    figures = {each["case"]: each["figures"] for each in rounds}
    assert figures["1 at work"]["rate"] > 0
    assert figures["2 at work"]["rate"] > 0
    assert figures["64 partitions"]["idle_percent"] >= 0
    assert figures["nothing happens"]["moved"] == 0
    assert figures["planned stop"]["moved"] == 4
    assert figures["kill -9"]["moving_s"] > figures["nothing happens"]["staying_s"]


def _tiny(folder: Path, only: str, *contenders: str) -> dict[str, Any]:
    """The results of a tiny run."""
    results = folder / "results.json"
    chosen = ["--only", only, "--contenders", ",".join(contenders), "--results", results]
    run = subprocess.run(
        [sys.executable, "-m", "bench", "--tiny", *chosen],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "goals" in run.stdout
    return json.loads(results.read_text())
