"""What a worker process is given, and what is read of it; tests/integration runs it."""

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from streams.observability.logs import JsonLine
from streams.sandbox.errors import ProcessFailed
from streams.sandbox.supervised import SupervisedProcesses
from streams.sandbox.worker import Installation, WorkerProcess, problems
from tests.http_server import answering


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[WorkerProcess]:
    processes = SupervisedProcesses(grace=0.0)
    environ = {"PATH": "/bin", "STREAMS_GROUP_ID": "a stranger's", "ACTIONS_START": "latest"}
    worker = WorkerProcess(processes, "worker", tmp_path, {"group_id": "ours", "STORE": "memory"}, environ)
    yield worker
    worker.close()
    processes.close()


def serving(port: int, **pages: str) -> AbstractContextManager[int]:
    """Serve pages at a worker's port, in its place."""

    def show(request: BaseHTTPRequestHandler) -> None:
        request.send_response(503 if request.path == "/readyz" else 200)
        request.end_headers()
        request.wfile.write(pages[request.path[1:]].encode())

    return answering(show, port)


def test_settings_of_another_installation_are_not_passed_on(worker: WorkerProcess) -> None:
    """Of our environment everything but a worker's settings comes in, and the given settings do."""
    assert worker.environ["PATH"] == "/bin"
    assert worker.environ["STREAMS_GROUP_ID"] == "ours"
    assert worker.environ["STREAMS_STORE"] == "memory"
    assert worker.environ["STREAMS_WEB_PORT"] == str(worker.port)
    assert "ACTIONS_START" not in worker.environ


def test_warnings_are_found_in_what_a_worker_logs(worker: WorkerProcess) -> None:
    """Lines in the worker's own format are told apart by their level."""
    line = JsonLine().format
    levels = (logging.INFO, logging.WARNING, logging.ERROR)
    records = [logging.LogRecord("n", level, "f", 1, f"at {level}", None, None) for level in levels]
    worker.log.write_text("\n".join(map(line, records)))
    head, *warnings = worker.last_warnings().strip().splitlines()
    assert head == "The worker's last warnings:"
    assert [each.strip() for each in warnings] == [line(record) for record in records[1:]]


def test_without_a_warning_nothing_is_quoted(worker: WorkerProcess) -> None:
    """A log without warnings, and no log at all, add nothing to an error message."""
    assert worker.last_warnings() == ""
    worker.log.write_text("all is well\n")
    assert worker.last_warnings() == ""


def test_counters_are_summed_over_the_labels_that_are_not_asked_for(worker: WorkerProcess) -> None:
    """Only samples of the name, with every label that is asked for, are counted."""
    metrics = 'emails_total{a="1",b="2"} 3.0\nemails_total{a="1",b="3"} 4.0\nemails_total_more 9\n'
    assert worker.counter("emails_total") == 0, "nobody listens"
    with serving(worker.port, metrics=metrics):
        assert worker.counter("emails_total") == 7
        assert worker.counter("emails_total", a="1", b="3") == 4
        assert worker.counter("emails_total", a="2") == 0


def test_what_a_worker_waits_for_is_told_until_it_ends(worker: WorkerProcess) -> None:
    """While it is not ready its reasons are passed on; when the process has ended, that is an error."""
    told: list[str] = []
    worker.start(["/bin/sleep", "600"])
    with serving(worker.port, readyz='{"ready": false, "problems": ["Kafka is away", "no table"]}'):
        with pytest.raises(ProcessFailed, match=r"not ready after 0\.3 s: Kafka is away; no table\."):
            worker.wait_ready(0.3, told.append)
        assert set(told) == {"Kafka is away; no table"}
        worker.kill()
        with pytest.raises(ProcessFailed, match="ended by itself, with exit code -9"):
            worker.wait_ready()


def test_a_worker_whose_pages_are_not_up_is_not_ready() -> None:
    """No answer is a reason, too."""
    assert problems("") == ["its pages are not up yet"]


def test_workers_of_an_installation_share_their_topics_and_end_together(tmp_path: Path) -> None:
    """Each has its own name and port; with the installation all of them end."""
    place = Installation("127.0.0.1:1", "t", tmp_path, store="rocksdb")
    first, second = place.worker(), place.worker(store="memory")
    assert first.environ["STREAMS_ACTIONS_TOPIC"] == second.environ["STREAMS_ACTIONS_TOPIC"] == "t-actions"
    assert (first.environ["STREAMS_STORE"], second.environ["STREAMS_STORE"]) == ("rocksdb", "memory")
    assert first.port != second.port
    first.start(["/bin/sleep", "600"])
    pid = first.pid
    place.kill_all()
    assert not Path(f"/proc/{pid}").exists()
