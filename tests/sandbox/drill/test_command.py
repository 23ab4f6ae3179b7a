"""The whole drill, small."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import pytest

from streams.sandbox.drill import command, run_drill
from streams.sandbox.lookup_service import Behaviour
from tests.commands.output import document

pytestmark = pytest.mark.kafka


def test_a_small_drill_counts_every_email(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """60 affected actions against 500s: each has its email; the consumer as it was leaves them all out."""
    file = tmp_path / "drill.json"
    code = run_drill(file, 60, modes=[Behaviour.ERRORS])
    output = capsys.readouterr().out
    result = document("drill", file.read_text())
    mode = result["modes"]["errors"]
    for group, actions in (("affected", 60), ("healthy organisation", 30), ("known supporters", 30)):
        counts = {name: mode["groups"][group][name] for name in ("actions", "emails", "missing", "doubled")}
        assert counts == {"actions": actions, "emails": actions, "missing": 0, "doubled": 0}, group
        assert 0 < mode["groups"][group]["delays"]["p50"] <= mode["groups"][group]["delays"]["most"]
    assert mode["uncalled"] == 0
    assert 10 <= mode["asked"]["affected"] <= 60
    assert mode["asked"]["healthy"] == 30
    assert mode["failed_exchanges"] == mode["asked"]["affected"]
    assert mode["breaker"][-1]["state"] == "open"
    assert mode["as_it_was"]["ended"] == "HTTPStatusError"
    assert mode["as_it_was"]["never_sent"]["affected"] == 60
    assert result["verdicts"][0]["held"]
    assert "errors 120 of 120, 0 doubled" in output
    # Timing is for the machine at hand: the code and the lines must agree, whatever it was.
    assert result["held"] == (code == 0) == ("missed" not in output)


@pytest.mark.parametrize("name", ["file/drill.json", "x" * 5_000])
def test_a_result_that_cannot_be_kept_is_said_before_the_drill(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that cannot be written ends the command in one sentence, before anything is started."""
    (tmp_path / "file").touch()

    def started(*_: object) -> NoReturn:
        raise AssertionError

    monkeypatch.setattr(command, "_run", started)
    assert run_drill(tmp_path / name, 60) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"Error: {tmp_path}")
    assert output.err.endswith("): name another --json.\n")
    assert len(output.err) < 300


def test_the_result_is_kept_before_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal that fails, or a reader that goes away, costs the drill's minutes to nobody."""
    found = {"held": True}

    def fails(*_: object) -> NoReturn:
        raise BrokenPipeError

    monkeypatch.setattr(command, "_run", lambda *_: {})
    monkeypatch.setattr(command, "verdicts", lambda *_: [])
    monkeypatch.setattr(command, "document", lambda *_: found)
    monkeypatch.setattr(command, "show", fails)
    with pytest.raises(BrokenPipeError):
        run_drill(tmp_path / "new/drill.json", 60)
    assert json.loads((tmp_path / "new/drill.json").read_text()) == found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.slow
def test_an_interrupted_drill_leaves_nothing_behind(tmp_path: Path) -> None:
    """Told to end while actions flow: exit code 130, and neither a process nor a file of it is left."""
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    argv = [sys.executable, "-m", "streams", "drill", "--actions", "10000", "--json", str(tmp_path / "json")]
    drill = subprocess.Popen(argv, env=environ, stderr=subprocess.PIPE, text=True)
    assert drill.stderr is not None
    for line in drill.stderr:
        if "20,000 actions" in line:
            break
    (folder,) = tmp_path.glob("streams-drill-*")
    assert _processes_with(str(folder))
    drill.send_signal(signal.SIGTERM)
    assert drill.wait(60) == 130, drill.stderr.read()
    drill.stderr.close()
    until = time.monotonic() + 10
    while (left := [*tmp_path.iterdir()]) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []
    assert _processes_with(str(folder)) == []


def _processes_with(text: str) -> list[int]:
    """Processes that have `text` in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and text.encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it has ended, or is not ours
            continue
    return found
