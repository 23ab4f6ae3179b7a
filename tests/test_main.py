"""The command line as a person or a script sees it: real processes, exit codes and one-sentence errors."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from streams.__main__ import main
from streams.settings.table import describe

COMMANDS = [
    "worker",
    "kafka",
    "feed",
    "status",
    "settings",
    "check",
    "decide",
    "demo",
    "drill",
    "lookup",
    "audit",
    "resend",
    "trace",
    "supporter",
    "dead-letters",
    "top",
    "doctor",
    "start-at",
    "breaker",
    "acls",
]


def streams(*arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streams", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            "PATH": os.environ["PATH"],
            **{name if name == "COLUMNS" else f"STREAMS_{name}": value for name, value in environ.items()},
        },
    )


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken and on which nobody listens, so that connecting to it is refused."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_a_worker_hears_its_first_signal_before_it_imports_anything() -> None:
    """SIGTERM ends it with exit code 0 from its first line on; process 1 would not even hear it."""
    program = """
import os, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("click", "faust", "aiokafka"):
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Finder())
sys.argv = ["streams", "worker"]
import streams.__main__
"""
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_help_lists_every_command() -> None:
    """--help names the commands in the order in which they are needed."""
    result = streams("--help")
    assert result.returncode == 0
    listed = result.stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed if line.strip()] == COMMANDS
    assert not [line for line in listed if line.endswith("...")]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command: str) -> None:
    """Help needs no settings, no Kafka and no file."""
    result = streams(command, "--help", WEB_PORT="wrong")
    assert result.returncode == 0
    assert result.stdout.startswith(f"Usage: streams {command}")


def test_settings_piped_are_whole() -> None:
    """Without a terminal, each setting stands on a line of its own and nothing of it is cut off."""
    result = streams("settings", WEB_PORT="7001")
    assert result.returncode == 0
    printed = result.stdout.splitlines()
    for row in describe():
        (line,) = [line for line in printed if line.split()[:1] == [row.name]]
        assert row.meaning in line
        assert row.allowed in line
    (line,) = [line for line in printed if "STREAMS_WEB_PORT" in line]
    assert line.split()[1:3] == ["7001", "environment"]


def test_settings_fit_a_narrow_screen() -> None:
    """At 80 columns each setting has lines of its own, of whole words, and nothing of it is cut off."""
    result = streams("settings", WEB_PORT="7001", COLUMNS="80")
    printed = result.stdout.splitlines()
    assert max(map(len, printed)) <= 80
    assert "STREAMS_WEB_PORT: 7001 (environment)" in printed
    assert "STREAMS_LOOKUP_URL: not set (default)" in printed
    words = " ".join(result.stdout.split())
    for row in describe():
        assert f"{row.meaning}. Allowed: {row.allowed_with_unit}" in words


def test_settings_that_somebody_changed_stand_alone() -> None:
    """--changed leaves out what the environment does not set; --verbose says what the default would be."""
    given = {"WEB_PORT": "7001", "LOOKUP_URL": "http://crm.example/"}
    (documents,) = [json.loads(streams("settings", "--changed", "--json", **given).stdout)]
    assert {each["name"]: each["value"] for each in documents} == {
        "STREAMS_LOOKUP_URL": "http://crm.example/",
        "STREAMS_WEB_PORT": 7001,
    }
    narrow = " ".join(streams("settings", "--changed", "--verbose", COLUMNS="80", **given).stdout.split())
    assert "STREAMS_WEB_PORT: 7001 (environment)" in narrow
    assert "Default: 6066" in narrow
    assert "Default: not set" in narrow
    wide = streams("settings", "--changed", "--verbose", **given).stdout
    assert re.search(r"STREAMS_WEB_PORT +7001 +environment +6066 ", wide)
    assert "STREAMS_GROUP_ID" not in narrow + wide
    assert streams("settings", "--changed").stdout == "every setting has its default\n"


def test_settings_with_a_wrong_organisations_file_end_with_two(tmp_path: Path) -> None:
    """The settings are shown, and then what is wrong with the file that one of them names, with its line."""
    file = tmp_path / "organisations.toml"
    file.write_text('[organisation.310]\nurl = "ftp://crm.example/"\n')
    result = streams("settings", ORGANISATIONS_FILE=str(file))
    assert result.returncode == 2
    assert "STREAMS_ORGANISATIONS_FILE" in result.stdout
    assert result.stderr.startswith(f"Error: {file} is wrong:\n  line 2: organisation.310.url")


def test_settings_as_json() -> None:
    """--json gives typed values, the source of each, and no secret."""
    result = streams(
        "settings",
        "--json",
        LOOKUP_URL="http://crm.example/",
        LOOKUP_AUTHORIZATION="Bearer s3cr3t",
        STORE="memory",
    )
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert list(rows) == [row.name for row in describe()]
    assert rows["STREAMS_STORE"]["value"] == "memory"
    assert rows["STREAMS_STORE"]["source"] == "environment"
    assert rows["STREAMS_WEB_PORT"]["value"] == 6066
    assert rows["STREAMS_WEB_PORT"]["source"] == "default"
    assert rows["STREAMS_LOOKUP_AUTHORIZATION"]["secret"] is True
    assert "s3cr3t" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    "arguments", [["settings"], ["worker"], ["feed", "-"], ["status", "-"], ["check"], ["trace", "1"]]
)
def test_wrong_settings_end_every_command_with_two(arguments: list[str]) -> None:
    """All wrong settings are named at once on standard error, without a traceback, exit code 2."""
    result = streams(*arguments, WEB_PORT="0", STORE="redis")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == (
        "Error: 2 settings are wrong:\n"
        "  STREAMS_STORE=redis: allowed is rocksdb, memory\n"
        "  STREAMS_WEB_PORT=0: allowed is 1 to 65,535\n"
    )


@pytest.mark.parametrize("command", ["feed", "status"])
def test_a_missing_file_is_one_sentence(command: str, tmp_path: Path) -> None:
    """A file that cannot be opened is named with the reason, and nothing is sent."""
    missing = tmp_path / "missing.jsonl"
    result = streams(command, str(missing))
    assert result.returncode == 1
    assert result.stderr == f"Error: cannot read {missing}: No such file or directory\n"
    result = streams(command, str(tmp_path))
    assert result.returncode == 1
    assert result.stderr == f"Error: cannot read {tmp_path}: Is a directory\n"


@pytest.mark.parametrize("command", ["feed", "status"])
def test_an_unreachable_kafka_is_one_sentence(command: str, closed_port: int) -> None:
    """A refused connection ends the command soon, with the address and without a traceback."""
    servers = f"127.0.0.1:{closed_port}"
    result = streams(command, "-", stdin="{}\n", KAFKA_BOOTSTRAP_SERVERS=servers)
    assert result.returncode == 3
    what, error = result.stderr.splitlines()
    assert what.endswith(f"at {servers}")
    assert error == f"Error: Kafka does not answer at {servers} (KafkaConnectionError)"


def test_an_interrupt_before_kafka_answers_is_one_sentence() -> None:
    """Ctrl-C while Kafka is silent ends the command at once, with what was sent: nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        process = subprocess.Popen(
            [sys.executable, "-m", "streams", "feed", "-"],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "STREAMS_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{silent.getsockname()[1]}",
            },
        )
        connection, _ = silent.accept()
        with connection, process:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert errors.splitlines()[1:] == ["interrupted, with 0 actions acknowledged"]


def test_a_rate_must_be_positive() -> None:
    """A rate of zero would never send anything, and is refused as a usage error."""
    result = streams("feed", "-", "--rate", "0")
    assert result.returncode == 2
    assert "x>0" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "module", "function", "expected"),
    [
        (
            ["worker", "--loglevel", "debug", "-x"],
            "streams.commands.worker",
            "run_worker",
            (["--loglevel", "debug", "-x"], "info"),
        ),
        (
            ["kafka", "--brokers", "3", "--folder", "f", "--port", "9099"],
            "streams.sandbox.kafka.foreground",
            "run_in_foreground",
            (3, Path("f"), 9099),
        ),
        (["demo", "--keep", "--mailer", "m x"], "streams.sandbox.demo", "run_demo", (None, True, "m x")),
    ],
)
def test_long_running_commands_pass_their_options_on(
    arguments: list[str],
    module: str,
    function: str,
    expected: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kafka and demo announce themselves, a worker in a terminal; each hands over to its own module.

    That function is replaced here, as the real ones run until they are stopped.
    """
    calls: list[tuple[object, ...]] = []

    def record(*positional: object, **named: object) -> int:
        calls.append((*positional, *named.values()))
        return 0

    monkeypatch.setattr(f"{module}.{function}", record)
    result = CliRunner().invoke(main, arguments, env={"STREAMS_WEB_PORT": ""})
    assert result.exit_code == 0
    assert calls == [expected]
    announced = result.stderr.startswith(f"{arguments[0]}: ")
    assert announced is (arguments[0] != "worker"), "among JSON lines it would be none"
    assert result.stdout == ""
