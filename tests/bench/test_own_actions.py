"""The user's own actions: their bytes as they are, and nothing of them where others can read it."""

import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import __main__ as command
from bench.own_actions import OwnActionsError, read
from streams.sandbox.people import somebody

ROOT = Path(__file__).parent.parent.parent
CANARY = "canary.person@example.org"


def _line(action_id: int, **more: object) -> bytes:
    return json.dumps(somebody(CANARY).action(action_id, **more)).encode()  # with spaces, as people have it


def test_lines_are_sent_as_they_are_until_there_are_enough(tmp_path: Path) -> None:
    """Bytes and order stay; the last time through the file ends where the number of actions is reached."""
    path = tmp_path / "actions.jsonl"
    path.write_bytes(b"\n".join([_line(1), _line(2), _line(2)]) + b"\n")
    work = read(path, 7)
    values = [value for _, value in work.records()]
    assert values == [_line(1), _line(2), _line(2), _line(1), _line(2), _line(2), _line(1)]
    assert list(work.times()) == [3, 4, 0], "lines with the same key and id are told apart by nothing"
    assert work.number(2, work.key(0)) == 1
    assert work.number(3, work.key(0)) is None
    assert work.number(1, b"310:another") is None
    assert len(list(work.statuses())) == 1, "a supporter has one status"


def test_a_gzip_file_is_read_as_well(tmp_path: Path) -> None:
    """Exports are often packed."""
    path = tmp_path / "actions.jsonl.gz"
    path.write_bytes(gzip.compress(_line(1) + b"\n"))
    assert Counter(value for _, value in read(path, 3).records()) == {_line(1): 3}


def test_what_gets_no_email_is_left_out_and_counted(tmp_path: Path) -> None:
    """Every contender must be able to make an email of what is measured."""
    path = tmp_path / "actions.jsonl"
    lines = [_line(1), _line(2, stage="deliver"), b"[1]", b'"text"', _line(3, contact={})]
    path.write_bytes(b"\n".join(lines))
    work = read(path, 10)
    assert (len(work.lines), work.left_out) == (1, 4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (b'{"contact": {"email": "canary.person@example.org"', "line 2 is not JSON"),
        (b"canary.person@example.org", "line 2 is not JSON"),
        (b"\xff" + CANARY.encode(), "line 2 is not JSON"),
        (b"", "line 2 is empty"),
    ],
)
def test_a_line_that_is_not_json_is_named_and_not_quoted(tmp_path: Path, wrong: bytes, said: str) -> None:
    """The command says which line, before it starts anything, and shows nothing of it."""
    path = tmp_path / "actions.jsonl"
    path.write_bytes(b"\n".join([_line(1), wrong, _line(2)]))
    with pytest.raises(OwnActionsError) as caught:
        read(path, 10)
    assert said in str(caught.value)
    run = CliRunner().invoke(command.main, ["--actions", str(path)])
    assert run.exit_code == 2
    assert said in run.output
    assert "canary" not in run.output + str(caught.value)


def test_a_file_of_which_nothing_can_be_used_is_refused(tmp_path: Path) -> None:
    """No figures are made of nothing."""
    path = tmp_path / "actions.jsonl"
    path.write_bytes(_line(1, stage="deliver"))
    with pytest.raises(OwnActionsError, match="of its 1 lines none is an action that asks"):
        read(path, 10)


def test_of_a_log_that_may_quote_actions_only_what_comes_before_it_is_shown(tmp_path: Path) -> None:
    """A contender that fails on an action often prints it."""
    path = tmp_path / "actions.jsonl"
    path.write_bytes(_line(1))
    work = read(path, 1)
    told = work.may_show(f"The worker-0 ended by itself, with exit code 1.\n  Its log ends with:\n  {CANARY}")
    assert told == (
        "The worker-0 ended by itself, with exit code 1. (Left out, since it may quote your actions.)"
    )
    assert CANARY not in repr(work)


@pytest.mark.slow
@pytest.mark.kafka
def test_a_tiny_run_on_own_actions_is_right_and_shows_nothing_of_them(tmp_path: Path) -> None:
    """Every contender's emails are right, this app's with other settings, too; no output has any content."""
    path, results = tmp_path / "actions.jsonl", tmp_path / "results.json"
    path.write_bytes(b"\n".join(_line(number) for number in (7, 7, 9)))
    arguments = ["--tiny", "--actions", path, "--contenders", "ours,bare", "--results", results]
    arguments += ["--also", "NATIVE_PASS=off"]
    run = subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=150
    )
    assert run.returncode == 0, run.stdout + run.stderr
    (known,) = json.loads(results.read_text())["scenarios"].values()
    assert {each["contender"] for each in known["rounds"]} == {
        "ours",
        "ours NATIVE_PASS=off",
        "bare",
    }
    assert all(each["figures"]["rate"] > 0 for each in known["rounds"])
    assert "3 of your own actions" in run.stdout
    for shown in (run.stdout, run.stderr, results.read_text()):
        assert "canary" not in shown
        assert somebody(CANARY).contact_ref not in shown
