import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import __main__ as command
from bench import report
from bench.contenders import CONTENDERS, Place, with_settings
from bench.results import Measured, Results
from bench.rounds import Round


def _known(ours: float) -> Results:
    rounds = [
        Round(name, "", number, {"rate": rate, "cpu_us": 1e6 / rate})
        for name, rate in (("ours", ours), ("bare", 100.0))
        for number in range(2)
    ]
    return Results("quick", scenarios={"known": Measured("Known", rounds)})


def test_the_report_is_made_of_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing runs: tables, plot and baseline come from the file, and a worse run is warned of."""
    monkeypatch.setattr(command, "FOLDER", tmp_path)
    monkeypatch.setattr(command, "DOCS", tmp_path)
    (tmp_path / "README.md").write_text(f"# Bench\n{report.BEGIN}\n{report.END}\n")
    (tmp_path / "results.json").write_text(json.dumps(_known(90.0).as_json()))
    run = CliRunner().invoke(command.main, ["--report", "--keep-baseline"])
    assert run.exit_code == 0, run.output
    assert "| ours |  | 90.0 |" in (tmp_path / "README.md").read_text()
    assert {"bench.png", "bench.svg"} <= {path.name for path in tmp_path.iterdir()}
    assert json.loads((tmp_path / "baseline.json").read_text())["quick"]["known: rate"] == 0.9
    assert len(command.held_against_baseline(_known(70.0))) == 2
    assert "nothing is worse" in command.held_against_baseline(_known(88.0))[0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--only", "unknown"], "there are"),
        (["--contenders", "ours,nobody"], "there are"),
        (["--also", "NO_SUCH_SETTING=on"], "the worker has no setting NO_SUCH_SETTING"),
        (["--also", "LOOKUP_CONCURRENCY"], "write NAME=VALUE"),
    ],
)
def test_a_name_that_does_not_exist_is_refused(wrong: list[str], said: str) -> None:
    """It is said before a broker is started."""
    run = CliRunner().invoke(command.main, wrong)
    assert run.exit_code == 2
    assert said in run.output


def test_other_settings_are_the_worker_s_and_win_over_the_case_s(tmp_path: Path) -> None:
    """The same command and topics, with another environment and a name that says which."""
    other = with_settings("LOOKUP_CONCURRENCY=8,LOOKUP_DEADLINE=2")
    assert other.name == "ours LOOKUP_CONCURRENCY=8,LOOKUP_DEADLINE=2"
    assert other.in_topics == "ours-lookup_concurrency-8-lookup_deadline-2", "topics are named after it"
    place = Place.of("127.0.0.1:1", "group", 4, tmp_path, settings={"LOOKUP_CONCURRENCY": "24"})
    usual, changed = CONTENDERS["ours"].environ(place), other.environ(place)
    assert changed == {**usual, "STREAMS_LOOKUP_CONCURRENCY": "8", "STREAMS_LOOKUP_DEADLINE": "2"}
