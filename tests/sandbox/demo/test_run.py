"""The whole demo, made short: a real Kafka, a real worker process, and the line at the end."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest
from rich.console import Console

import streams.sandbox.demo.performance
import streams.sandbox.demo.run
from streams.commands.audit.outcome import AuditRange, AuditResult
from streams.commands.installation import Installation
from streams.sandbox.demo.phases import Phase, script
from streams.sandbox.demo.run import Plan, run
from streams.sandbox.demo.view import View
from streams.sandbox.lookup_service import Behaviour
from streams.sandbox.people import Crowd
from tests.examples import valid
from tests.integration.topics import producing, read
from tests.sandbox.processes import wait_until_gone

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]

ONE_PHASE = [Phase("healthy", Behaviour.HEALTHY, 1.0)]
PROGRAM = """
import sys
import streams.__main__
from streams.sandbox.lookup_service import Behaviour
from streams.sandbox.demo.phases import Phase
from streams.sandbox.demo.run import Plan, run
from streams.sandbox.demo.view import open_view
phases = [Phase("healthy", Behaviour.HEALTHY, float(sys.argv[1]))]
sys.argv[0] = streams.__main__.__file__  # as `make demo` starts it
sys.exit(run(Plan(phases=phases, keep=sys.argv[2:] == ["keep"]), open_view()))
"""


def shown(plan: Plan) -> tuple[int, str]:
    output = io.StringIO()
    return run(plan, View(Console(file=output, width=110))), output.getvalue()


def audit_line(output: str) -> tuple[int, ...]:
    [line] = re.findall(r"^(\d+) actions, (\d+) emails, (\d+) missing, (\d+) doubled$", output, re.MULTILINE)
    return tuple(map(int, line))


def test_every_phase_sends_its_emails_and_the_count_is_exact(tmp_path: Path):
    """Through every trouble of the lookup, each action gets one email, and the exit code says so.

    In the end there are letters of both variants to open, in HTML and plain text, under the addresses shown.
    """
    mailer = f"{sys.executable} -m examples.mailer render {tmp_path / 'letters'}"
    code, output = shown(Plan(phases=script(1.0, 0.0), mailer=mailer))
    actions, emails, missing, doubled = audit_line(output)
    assert code == 0, output
    assert (missing, doubled) == (0, 0)
    assert actions == emails > 0  # each phase had some, or the code were not 0
    assert "known_subscribed" in output
    assert "http_status" in output
    assert "Not as it should be" not in output
    index, *files = (urlsplit(address).path for address in re.findall(r"file://\S+", output))
    assert 'src="' in Path(index).read_text()
    kinds = ["one_button.*html", "one_button.*txt", "two_button.*html", "two_button.*txt"]
    for kind, file in zip(kinds, files, strict=True):
        assert re.search(kind, file)
        assert Path(file).read_text().count("/confirm/confirm") == (1 if "one_button" in file else 2)


@pytest.mark.slow
def test_a_mailer_that_makes_no_letters_fails_the_demo():
    """All emails are there, and yet the exit code is 1, with the mailer's own reason."""
    code, output = shown(Plan(phases=ONE_PHASE, mailer="sh -c 'cat >/dev/null; echo no paper; exit 3'"))
    assert code == 1
    assert audit_line(output)[2:] == (0, 0)
    assert "Not as it should be: the mailer ended with exit code 3: no paper." in output


def test_make_demo_ends_with_letters():
    """The target names the example mailer as the one that makes them, and where they go."""
    planned = subprocess.run(["make", "-n", "demo"], capture_output=True, text=True, check=True).stdout
    assert re.search(
        r"streams demo --mailer \"\S+ -m examples\.mailer render \.cache/demo/letters\"", planned
    )


def test_a_file_of_ones_own_is_counted_by_place(tmp_path: Path):
    """The same lines come again and again, and still each has one email; the rest is told apart.

    What the worker takes is not for the demo to say: a name may be cut in the middle of an emoji.
    """
    good = list(islice(Crowd(Random(5)).actions(), 3))
    good.append(valid("action")["lone-surrogates-in-name-and-comment"].strip())
    other_stage = json.dumps(json.loads(good[0]) | {"stage": "deliver"}).encode()
    file = tmp_path / "my.jsonl"
    file.write_bytes(b"\n".join([*good, other_stage, b"{not json"]) + b"\n")
    code, output = shown(Plan(actions=file, phases=ONE_PHASE))
    actions, emails, missing, doubled = audit_line(output)
    [(fed, ignored, dead)] = re.findall(
        r"(\d+) actions were fed\. (\d+) ask for no confirmation.*?, (\d+) are dead letters", output
    )
    assert code == 0, output
    assert (missing, doubled) == (0, 0)
    assert actions == emails
    assert int(fed) == actions + int(ignored) + int(dead)
    # One line in six each, of which some were still in the making when the phase ended.
    assert int(ignored) > 0
    assert int(dead) > 0


@pytest.mark.slow
def test_a_second_email_fails_the_demo(monkeypatch: pytest.MonkeyPatch):
    """One email too many is seen, told with its place, and makes the exit code 1."""
    audit = streams.sandbox.demo.performance.audit

    async def doubled_first(installation: Installation, wanted: AuditRange) -> AuditResult:
        monkeypatch.setattr(streams.sandbox.demo.performance, "audit", audit)
        servers = installation.connection["bootstrap_servers"]
        first, *_ = await read(servers, installation.names.emails, bool)
        async with producing(servers) as producer:
            await producer.send_and_wait(first.topic, first.value, key=first.key, headers=list(first.headers))
        return await audit(installation, wanted)

    monkeypatch.setattr(streams.sandbox.demo.performance, "audit", doubled_first)
    code, output = shown(Plan(phases=ONE_PHASE))
    actions, emails, missing, doubled = audit_line(output)
    assert code == 1
    assert (emails - actions, missing, doubled) == (1, 0, 1)
    assert re.search(r"^doubled: actions/\d/\d+$", output, re.MULTILINE)
    assert "Not as it should be: actions and emails do not match one to one." in output


def test_a_worker_that_cannot_start_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Exit code 1, one sentence, and the last lines of the worker's log, without a traceback of ours."""
    monkeypatch.setattr(streams.sandbox.demo.run, "organisations_file", lambda *_: "[default]\nurl = 7\n")
    code, _ = shown(Plan(phases=ONE_PHASE))
    error = capsys.readouterr().err
    assert code == 1
    assert re.match(r"Error: The worker ended by itself, with exit code \d+\.", error)
    assert "organisations.toml is wrong" in error


def test_a_wrong_file_is_told_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A file without actions ends the demo at once."""
    (tmp_path / "empty.jsonl").touch()
    code, output = shown(Plan(actions=tmp_path / "empty.jsonl"))
    assert (code, output) == (1, "")
    assert "holds no action" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGKILL, -9, marks=pytest.mark.slow)],
)
def test_whatever_ends_it_nothing_is_left(number: int, code: int, tmp_path: Path):
    """Ctrl-C ends it with 130; and even after a SIGKILL neither a process nor a folder remains."""
    with demo("60", folder=tmp_path) as process:
        until(process, "Lookup service: healthy")
        started = descendants(process.pid)
        assert len(started) >= 4  # Kafka, the worker, and who watches over each
        process.send_signal(number)
        assert (
            process.wait(120) == code
        )  # some two seconds; this bound is for a hang, and not for a busy machine
        wait_until_gone(*started, seconds=30)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_kept_running_it_answers_until_it_is_interrupted(tmp_path: Path):
    """Every address and command that is printed works; Ctrl-C then ends all, with the code of the audit."""
    with demo("1", "keep", folder=tmp_path) as process:
        output = until(process, "more actions")
        assert audit_line(output)[2:] == (0, 0)
        for page in ("metrics", "livez", "readyz"):
            [address] = re.findall(rf"http://\S+/{page}$", output, re.MULTILINE)
            with urllib.request.urlopen(address, timeout=5) as response:
                assert response.status == 200
        [control] = re.findall(r"curl -X PUT -d hanging (\S+)", output)
        with urllib.request.urlopen(control, timeout=5) as response:
            assert response.read() == b"healthy\n"
        [hint] = re.findall(r"more actions\s+(.*)FILE\.jsonl$", output, re.MULTILINE)
        one = next(Crowd(Random(5)).actions()) + b"\n"
        assert subprocess.run(f"{hint} -", shell=True, input=one, timeout=60).returncode == 0
        process.send_signal(signal.SIGINT)
        assert process.wait(40) == 0
        assert list(tmp_path.iterdir()) == []


@contextmanager
def demo(*arguments: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"TMPDIR": str(folder)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], text: str) -> str:
    lines: list[str] = []
    assert process.stdout is not None
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"it ended without {text!r}:\n{''.join(lines)}")


def descendants(ancestor: int) -> list[int]:
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found: list[int] = []
    family = {ancestor}
    while new := [pid for pid, parent in parents.items() if parent in family and pid not in family]:
        family.update(new)
        found += new
    return found
