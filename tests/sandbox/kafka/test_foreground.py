"""`streams kafka`, as a person in a terminal has it."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.sandbox.ports import free_port

pytestmark = pytest.mark.kafka

PROGRAM = """
import sys
from pathlib import Path
from streams.sandbox.kafka.cluster import EmbeddedKafka
kafka_start = EmbeddedKafka.start
def start(kafka):
    print("starts", flush=True)
    kafka_start(kafka)
    print("pid", kafka.brokers[1].pid, flush=True)
EmbeddedKafka.start = start
from streams.sandbox.kafka.foreground import run_in_foreground
folder, port = (Path(sys.argv[1]) if sys.argv[1] else None), int(sys.argv[2]) or None
raise SystemExit(run_in_foreground(1, folder, port))
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def run(folder: Path | str = "", port: int = 0) -> subprocess.Popen[str]:
        argv = [sys.executable, "-c", PROGRAM, str(folder), str(port)]
        started.append(subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def ready(process: subprocess.Popen[str]) -> tuple[int, Path, int]:
    """Its port, its folder and its broker's process id, once it says that it is ready."""
    assert process.stdout is not None
    told = "".join(process.stdout.readline() for _ in range(4))
    found = re.search(r"pid (\d+)\n.* is ready: 127\.0\.0\.1:(\d+)\nIts files are in (\S+) ", told)
    assert found, told
    return int(found.group(2)), Path(found.group(3)), int(found.group(1))


@pytest.mark.parametrize(
    "numbers",
    [
        pytest.param([signal.SIGINT], marks=pytest.mark.slow),
        [signal.SIGTERM],
        pytest.param([signal.SIGINT, signal.SIGTERM], marks=pytest.mark.slow),
    ],
)
def test_ends_in_good_order_when_asked(start: Start, numbers: list[signal.Signals]) -> None:
    """It tells its address, serves, and on Ctrl-C or SIGTERM, or both, ends with 0 and leaves no file."""
    process = start()
    port, folder, _ = ready(process)
    socket.create_connection(("127.0.0.1", port)).close()
    assert folder.is_dir()

    for number in numbers:
        process.send_signal(number)

    assert process.wait(30) == 0
    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_interrupted_while_it_starts(start: Start) -> None:
    """Ctrl-C before it is ready ends it just as well, with nothing said of a failure."""
    process = start()
    assert process.stdout is not None
    assert process.stdout.readline() == "starts\n"
    process.send_signal(signal.SIGINT)
    told, complaint = process.communicate(timeout=30)
    assert (process.returncode, told) == (0, "")
    assert "Error" not in complaint


@pytest.mark.slow
def test_given_folder_and_port_are_used(start: Start, tmp_path: Path) -> None:
    """The folder stays; a port that is in use is one line on standard error and exit code 1."""
    wanted = free_port()
    process = start(tmp_path / "kept", wanted)
    assert ready(process)[:2] == (wanted, tmp_path / "kept")

    second = start("", wanted)
    _, complaint = second.communicate(timeout=30)
    assert second.returncode == 1
    assert complaint == f"Error: Port {wanted} on 127.0.0.1 is in use: choose another one.\n"

    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert (tmp_path / "kept" / "broker-1" / "data" / "meta.properties").exists()


@pytest.mark.slow
def test_broker_that_ends_by_itself_is_a_failure(start: Start) -> None:
    """When the broker is gone, so is the program, with exit code 1 and the reason."""
    process = start()
    _, folder, broker = ready(process)
    os.kill(broker, signal.SIGKILL)

    _, complaint = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Error: Broker 1 ended by SIGKILL." in complaint
    assert not folder.exists()
