"""The process that owns the brokers, and what it leaves behind: nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streams.sandbox.errors import SandboxError
from streams.sandbox.supervised import SupervisedProcesses
from tests.sandbox.processes import wait_until_gone

SLEEPER = ["sleep", "600"]
DEAF = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"]

# A parent that starts a sleeping process under a supervisor, tells both process ids, and waits to be killed.
PARENT = """
import json, os, sys, time
from pathlib import Path
from streams.sandbox.supervised import SupervisedProcesses
folder = Path(sys.argv[1])
processes = SupervisedProcesses(grace=0.0, remove=folder)
pid = processes.start("1", ["sleep", "600"], folder / "log")
if "fork" in sys.argv and os.fork() == 0:
    time.sleep(600)  # holds a copy of the pipe to the supervisor
print(json.dumps([pid, processes.pid]), flush=True)
time.sleep(600)
"""

KAFKA_PARENT = """
import json, time
from streams.sandbox.kafka import EmbeddedKafka
kafka = EmbeddedKafka()
kafka.start()
print(json.dumps([kafka.brokers[1].pid, str(kafka.folder)]), flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "temporary"
    made.mkdir()
    return made


@pytest.fixture
def processes() -> Iterator[SupervisedProcesses]:
    """They are killed in the end."""
    with closing(SupervisedProcesses(grace=0.0)) as made:
        yield made


@pytest.fixture
def parent() -> Iterator[Callable[..., tuple[subprocess.Popen[str], Any]]]:
    """Start a Python program in its own process group and read the JSON line that it prints."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> tuple[subprocess.Popen[str], Any]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, process_group=0
        )
        started.append(process)
        assert process.stdout is not None
        return process, json.loads(process.stdout.readline())

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.mark.kafka
def test_killed_parent_leaves_no_broker_and_no_folder(parent: Callable[..., Any]) -> None:
    """When the program that started a Kafka is killed with SIGKILL, the broker ends and its folder goes."""
    process, (broker, root) = parent(KAFKA_PARENT)
    assert Path(root).is_dir()

    process.kill()

    wait_until_gone(broker)
    deadline = time.monotonic() + 10
    while Path(root).exists():  # removed after the broker's end, within moments
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_killed_parent_with_a_living_child(parent: Callable[..., Any], folder: Path) -> None:
    """A forked child that still holds the pipe does not keep the processes of a killed parent alive."""
    process, pids = parent(PARENT, str(folder), "fork")
    process.kill()
    wait_until_gone(*pids)
    assert not folder.exists()
    os.killpg(process.pid, signal.SIGKILL)  # the child


def test_interrupt_from_the_terminal_passes_the_processes_by(
    parent: Callable[..., Any], folder: Path
) -> None:
    """Ctrl-C goes to the whole foreground group, and only the parent decides when the brokers end."""
    process, pids = parent(
        PARENT.replace(
            "import json", "import signal; signal.signal(2, lambda *_: print('x', flush=True))\nimport json"
        ),
        str(folder),
    )
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "x\n"
    for pid in pids:
        os.kill(pid, 0)
    process.kill()
    wait_until_gone(*pids)


@pytest.mark.skipif(sys.platform != "linux", reason="the second line of defence is the Linux kernel's")
def test_killed_supervisor_takes_its_processes_along(parent: Callable[..., Any], folder: Path) -> None:
    """Even a supervisor that is killed leaves no broker behind."""
    _, (pid, supervisor) = parent(PARENT, str(folder))
    os.kill(supervisor, signal.SIGKILL)
    wait_until_gone(pid)


def test_terminated_supervisor_cleans_up(parent: Callable[..., Any], folder: Path) -> None:
    """A supervisor that is asked to end does the same as when its parent ends."""
    _, pids = parent(PARENT, str(folder))
    os.kill(pids[1], signal.SIGTERM)
    wait_until_gone(*pids)
    assert not folder.exists()


def test_parent_is_told_when_the_supervisor_is_gone(folder: Path) -> None:
    """A command to a supervisor that was killed is an error, not a wait without end; closing is harmless."""
    processes = SupervisedProcesses(grace=0.0)
    processes.start("1", SLEEPER, folder / "log")
    os.kill(processes.pid, signal.SIGKILL)
    with pytest.raises(SandboxError, match="has ended"):
        processes.wait("1", 5)
    processes.close()


def test_answer_to_a_question_given_up_is_not_taken_for_another(
    processes: SupervisedProcesses, folder: Path
) -> None:
    """After an interrupted wait, the late answer does not pass for that of the next command."""

    def give_up(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, give_up)
    try:
        pid = processes.start("1", SLEEPER, folder / "log")
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            processes.wait("1", 1.0)
        assert processes.start("2", ["true"], folder / "log") != pid
        assert processes.wait("2", 10.0) == 0
    finally:
        signal.signal(signal.SIGALRM, before)


def test_grace_then_kill(folder: Path) -> None:
    """What ignores SIGTERM is killed after the grace; what heeds it, or is stopped, ends at once."""
    begin = time.monotonic()
    with closing(SupervisedProcesses(grace=30.0)) as processes:
        deaf = processes.start("deaf", DEAF, folder / "deaf")
        processes.start("sleeper", SLEEPER, folder / "sleeper")
        processes.signal("sleeper", signal.SIGSTOP)
        while (folder / "deaf").read_bytes() != b"deaf\n":
            assert processes.wait("deaf", 0.01) is None
        processes.end(["sleeper"], 30.0)
        assert processes.wait("sleeper", 0) == -signal.SIGTERM
        processes.end(["deaf"], 0.3)
        assert processes.wait("deaf", 0) == -signal.SIGKILL
        assert time.monotonic() - begin < 10
    wait_until_gone(deaf)


def test_signal_to_an_ended_process_is_not_sent(processes: SupervisedProcesses, folder: Path) -> None:
    """A signal never goes to a process that ended, whose id may be somebody else's by now."""
    processes.start("1", ["true"], folder / "log")
    assert processes.wait("1", 10) == 0
    assert processes.signal("1", signal.SIGTERM) is False


def test_program_that_does_not_exist_is_an_error(processes: SupervisedProcesses, folder: Path) -> None:
    """What the supervisor cannot start is raised where it was asked for, and the supervisor goes on."""
    with pytest.raises(SandboxError, match="FileNotFoundError"):
        processes.start("1", ["/no/such/program"], folder / "log")
    processes.start("1", SLEEPER, folder / "log")


@pytest.mark.parametrize(("ends_by", "kept"), [("TERM", True), ("KILL", False)])
def test_archive_counts_only_when_whole(folder: Path, ends_by: str, kept: bool) -> None:
    """A class archive gets its name only if its writer ended in good order; half of one is removed."""
    written, final = folder / "archive.123", folder / "archive"
    writer = [
        "sh",
        "-c",
        'trap "echo all > $0; exit 143" TERM; echo half > $0; while :; do sleep 0.05; done',
        written,
    ]
    with closing(SupervisedProcesses(grace=0.0)) as processes:
        processes.start("1", [str(part) for part in writer], folder / "log", archive=(written, final))
        while not written.exists():
            assert processes.wait("1", 0.01) is None
        if ends_by == "KILL":
            processes.signal("1", signal.SIGKILL)
    assert final.exists() == kept
    assert not written.exists()
    assert not kept or final.read_text() == "all\n"
