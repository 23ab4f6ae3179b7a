"""What a long run must outlive, and what must never be counted."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench import report
from bench.contenders import CONTENDERS, PEERS, Contender
from bench.course import Course
from bench.results import Results
from bench.scenarios import TINY, Case, Scale, Scenario
from bench.workload import Workload

pytestmark = pytest.mark.kafka

#: The bare loop, with every letter the other way round.
WRONG = f"""
import runpy, sys
sys.path.insert(0, {str(PEERS)!r})
import job
job.write = lambda value, subscribed: job.splice(value, not subscribed)
runpy.run_path({str(PEERS / "bare_loop.py")!r}, run_name="__main__")
"""


def _scenario(name: str, *contenders: str) -> Scenario:
    def cases(_: Scale) -> Sequence[Case]:
        if not contenders:
            raise RuntimeError("these cases cannot be made")
        return [Case("", Workload(500, people=100), contenders)]

    return Scenario(name, name, "backlog", cases, 1, 1.0)


@pytest.mark.slow
def test_what_is_wrong_or_ends_is_recorded_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wrong letters give no figure, a contender that ends its log, a scenario that fails its reason."""
    bare = CONTENDERS["bare"]

    def like_bare(name: str, source: str) -> Contender:
        return replace(bare, name=name, argv=lambda _: [sys.executable, "-c", source])

    monkeypatch.setitem(CONTENDERS, "wrong", like_bare("wrong", WRONG))
    monkeypatch.setitem(CONTENDERS, "ending", like_bare("ending", "raise SystemExit('no more today')"))
    kept: list[str] = []
    told: list[str] = []
    course = Course(TINY, told.append, lambda found: kept.append(json.dumps(found.as_json())))
    found = course.run(
        [_scenario("broken"), _scenario("first", "wrong", "ending", "bare"), _scenario("last", "bare")]
    )

    broken, first, last = found.scenarios.values()
    assert broken.rounds[0].problems == ["RuntimeError: these cases cannot be made"]
    wrong, ending, right = first.rounds
    assert wrong.problems == ["500 emails with a wrong variant"]
    assert wrong.figures == {}
    assert "exit code 1" in ending.problems[0]
    assert "no more today" in ending.problems[0]
    for each in (right, last.rounds[0]):
        assert each.problems == []
        assert each.figures["rate"] > 0
    assert len(kept) == 3, "kept after each scenario"
    assert len(found.failures()) == 3
    assert "FAILED: first: wrong: 500 emails with a wrong variant" in report.as_text(found)
    assert any("round 1" in line and "bare" in line for line in told)


def test_what_was_kept_is_read_again(tmp_path: Path) -> None:
    """The report can be made anew from the file."""
    found = Results("tiny")
    path = tmp_path / "results.json"
    path.write_text(json.dumps(found.as_json()))
    assert Results.load(path) == found
