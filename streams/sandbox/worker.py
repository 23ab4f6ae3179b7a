"""Worker processes for everything that shows or tests them: demo, drill, chaos, integration tests."""

import json
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

from streams.kafka.topics import TopicNames
from streams.sandbox.errors import ProcessFailed
from streams.sandbox.ports import HOST, HeldPort
from streams.sandbox.process import Process, quoted
from streams.sandbox.supervised import SupervisedProcesses
from streams.settings.environment import PREFIX
from streams.settings.table import variables_in

COMMAND = (sys.executable, "-m", "streams", "worker")
SOURCE = Path(__file__).resolve().parents[2]
_LOOK_EVERY = 0.1  # seconds
_ANSWERS_WITHIN = 5.0  # seconds
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
#: In a line of the log style `json`, which a worker has where its output is no terminal.
_WARNING = re.compile(r'"level":"(warning|error|critical)"')
_WARNINGS_SHOWN = 12
# A proxy in our environment is not for the loopback interface.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class ServingProcess(Process):
    """A process with a log and a web port of its own, where it serves /metrics, /livez and /readyz."""

    def __init__(
        self,
        processes: SupervisedProcesses,
        name: str,
        argv: Sequence[str],
        environ: Mapping[str, str],
        folder: Path,
        prefix: str,
    ) -> None:
        """Describe a process; nothing runs yet.

        Args:
            processes: the supervisor's.
            name: unique among them.
            argv: the command: a module of this checkout, run by Python.
            environ: of it, beside where it finds that module and where it serves its pages.
            folder: for its log.
            prefix: of its settings' names.

        Raises:
            SandboxError: there is no free port.
        """
        self._held = HeldPort()
        self.port = self._held.number
        own = {
            "PYTHONPATH": os.pathsep.join(filter(None, (str(SOURCE), environ.get("PYTHONPATH")))),
            f"{prefix}WEB_HOST": HOST,
            f"{prefix}WEB_PORT": str(self.port),
        }
        super().__init__(
            processes, name, argv, {**own, **environ, "PYTHONPATH": own["PYTHONPATH"]}, folder / f"{name}.log"
        )

    @property
    def pages(self) -> str:
        """The address before /metrics, /livez and /readyz."""
        return f"http://{HOST}:{self.port}"

    def start(self, argv: Sequence[str] | None = None) -> None:
        """Start it as every process, and leave the port to it."""
        self._held.make_way()
        super().start(argv)

    def close(self) -> None:
        """Kill it if it runs, and let go of the port."""
        self.kill()
        self._held.release()

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of one of its pages; status 0 while nobody listens."""
        return page(self.port, path)

    def counter(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples with these labels; 0 while its page does not answer."""
        return sum(
            float(value)
            for shown, given, value in _SAMPLE.findall(self.get("/metrics")[1])
            if shown == name and all(f'{label}="{wanted}"' in given for label, wanted in labels.items())
        )

    def wait_counter(self, least: float, name: str, seconds: float = 30, **labels: str) -> None:
        """Wait until a counter has reached `least`.

        Raises:
            ProcessFailed: it ended, or has not counted so far after so many seconds.
        """
        until = time.monotonic() + seconds
        while (value := self.counter(name, **labels)) < least:
            self.check()
            if time.monotonic() > until:
                raise ProcessFailed(
                    f"{name} of the {self.name} is {value:g}, not {least:g}, after {seconds:g} s."
                    f"{self.last_lines()}"
                )
            time.sleep(_LOOK_EVERY)


class WorkerProcess(ServingProcess):
    """One ``streams worker`` with a log, a store folder and a web port of its own."""

    def __init__(
        self,
        processes: SupervisedProcesses,
        name: str,
        folder: Path,
        settings: Mapping[str, object],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Describe a worker; nothing runs yet.

        Args:
            processes: the supervisor's.
            name: unique among them.
            folder: for its log and its store.
            settings: by name without the prefix.
            environ: passed on, but for a worker's settings in it; None: our environment.

        Raises:
            SandboxError: there is no free port.
        """
        given = os.environ if environ is None else environ
        strangers = variables_in(given)
        own = {"STORE_FOLDER": folder / name, **settings}
        environ = {
            **{key: value for key, value in given.items() if key not in strangers},
            **{f"{PREFIX}{key.upper()}": str(value) for key, value in own.items()},
        }
        super().__init__(processes, name, COMMAND, environ, folder, PREFIX)

    def problems(self) -> list[str]:
        """Return why it is not ready, as /readyz says; empty: it is ready."""
        return problems(self.get("/readyz")[1])

    def wait_ready(self, seconds: float = 60, told: Callable[[str], None] = lambda _: None) -> None:
        """Wait until /readyz says so; `told` hears what is awaited.

        Raises:
            ProcessFailed: it ended, or is not ready after so many seconds.
        """
        until = time.monotonic() + seconds
        while found := self.problems():
            self.check()
            awaited = "; ".join(found)
            if time.monotonic() > until:
                raise ProcessFailed(
                    f"The {self.name} was not ready after {seconds:g} s: {awaited}.{self.last_lines()}"
                )
            told(awaited)
            time.sleep(_LOOK_EVERY)

    def last_warnings(self) -> str:
        """Return the last warnings and errors in its log, for an error message; empty if there are none."""
        warnings = [line for line in self.tail(10_000).splitlines() if _WARNING.search(line)]
        head = f"The {self.name}'s last warnings:"
        return quoted(head, warnings[-_WARNINGS_SHOWN:]) if warnings else ""


def page(port: int, path: str) -> tuple[int, str]:
    """Return status and body of a page of a process on this machine; status 0 while nobody listens."""
    try:
        with _open(f"http://{HOST}:{port}{path}", timeout=_ANSWERS_WITHIN) as response:
            return int(response.status), response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def problems(body: str) -> list[str]:
    """Return why a worker is not ready, from the body of its /readyz; empty: it is ready."""
    return list(json.loads(body)["problems"]) if body else ["its pages are not up yet"]


def topic_names(group: str) -> TopicNames:
    """Return names that begin with the group's, as the worker names what no setting names."""
    kinds = ("actions", "status", "emails", "dlq", "supporter-status-changelog", "rekeyed-actions")
    return TopicNames(*(f"{group}-{kind}" for kind in kinds))


class Installation:
    """Topics, a consumer group and settings that several workers share. They end with it, or when we do."""

    def __init__(self, bootstrap_servers: str, name: str, folder: Path, **settings: object) -> None:
        """Describe it; nothing runs yet.

        Args:
            bootstrap_servers: of its Kafka.
            name: of the group, and the beginning of the topics' names.
            folder: that exists, for logs and stores.
            settings: of all workers, by name without the prefix.
        """
        self.bootstrap_servers = bootstrap_servers
        self.group = name
        self.folder = folder
        self.names = topic_names(name)
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
        #: What a Kafka client is given.
        self.connection = {"bootstrap_servers": bootstrap_servers}
        self.workers: list[WorkerProcess] = []
        self._processes: SupervisedProcesses | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()

    @property
    def environ(self) -> dict[str, str]:
        """The settings as environment variables, for commands."""
        return {f"{PREFIX}{name}": value for name, value in self.settings.items()}

    def worker(self, **settings: object) -> WorkerProcess:
        """Make one more worker, not started yet; `settings` are its own."""
        if self._processes is None:
            self._processes = SupervisedProcesses(grace=0.0)
        given = {**self.settings, **{key.upper(): value for key, value in settings.items()}}
        worker = WorkerProcess(self._processes, f"worker-{len(self.workers)}", self.folder, given)
        self.workers.append(worker)
        return worker

    def kill_all(self) -> None:
        """Kill every worker, and let go of their ports. The installation ends with this."""
        if self._processes is not None:
            for worker in self.workers:
                worker.close()
            self._processes.close()
            self._processes = None
