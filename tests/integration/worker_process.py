"""A real worker in a process of its own, with topics and a group of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from streams.kafka.topics import TopicNames


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class WorkerProcess:
    """One worker; its log is kept in `folder`."""

    def __init__(self, folder: Path, name: str, environ: Mapping[str, str]) -> None:
        self.port = free_port()
        self.log = folder / f"{name}.log"
        self._environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith("STREAMS_")},
            "STREAMS_STORE_FOLDER": str(folder / name),
            "STREAMS_WEB_PORT": str(self.port),
            **environ,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, command: tuple[str, ...] = (sys.executable, "-m", "streams", "worker")) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environ, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def send(self, what: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(what)

    def wait(self, seconds: float = 30) -> int:
        assert self._process is not None
        return self._process.wait(seconds)

    def kill(self) -> None:
        if self.running:
            self.send(signal.SIGKILL)
            self.wait()

    def stop(self) -> int:
        self.send(signal.SIGTERM)
        return self.wait()

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of one of the worker's pages; status 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self, seconds: float = 45) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self.get("/readyz")[0] == 200:
                return
            if not self.running:
                break
            time.sleep(0.1)
        raise AssertionError(f"not ready: {self.get('/readyz')}\n{self.tail()}")

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_counter(self, value: float, name: str, seconds: float = 30, **labels: str) -> None:
        """Wait until a counter has reached `value`."""
        until = time.monotonic() + seconds
        while self.counter(name, **labels) < value:
            if time.monotonic() > until:
                raise AssertionError(f"{name} is {self.counter(name, **labels)}, not {value}\n{self.tail()}")
            time.sleep(0.05)

    def counter(self, name: str, **labels: str) -> float:
        """Return the sum of a counter's samples that have these labels."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(
                f'{label}="{wanted}"' in sample for label, wanted in labels.items()
            ):
                total += float(value)
        return total


class Installation:
    """Names and settings that the workers of one test share."""

    def __init__(self, bootstrap_servers: str, name: str, folder: Path, **settings: object) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.group = name
        self.names = TopicNames(
            f"{name}-actions",
            f"{name}-status",
            f"{name}-emails",
            f"{name}-dlq",
            f"{name}-supporter-status-changelog",
            f"{name}-rekeyed-actions",
        )
        self._folder = folder
        self.settings = {
            "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "GROUP_ID": name,
            "ACTIONS_TOPIC": self.names.actions,
            "STATUS_TOPIC": self.names.statuses,
            "EMAILS_TOPIC": self.names.emails,
            "DEAD_LETTERS_TOPIC": self.names.dead_letters,
            "TOPIC_PARTITIONS": "4",
            "STORE": "memory",
            "SESSION_TIMEOUT": "6",
            "HEARTBEAT_INTERVAL": "1",
            **{key.upper(): str(value) for key, value in settings.items()},
        }
        self.workers: list[WorkerProcess] = []

    def worker(self, **settings: object) -> WorkerProcess:
        """Make one more worker, not started yet."""
        given = {**self.settings, **{key.upper(): str(value) for key, value in settings.items()}}
        environ = {f"STREAMS_{key}": value for key, value in given.items()}
        worker = WorkerProcess(self._folder, f"worker-{len(self.workers)}", environ)
        self.workers.append(worker)
        return worker

    def kill_all(self) -> None:
        for worker in self.workers:
            worker.kill()


def problems(body: str) -> list[str]:
    found: list[str] = json.loads(body)["problems"]
    return found
