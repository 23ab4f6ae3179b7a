"""A cluster of one or three brokers as one object."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from streams.sandbox.kafka.errors import BrokerFailed, EmbeddedKafkaError
from streams.sandbox.kafka.jars import KAFKA_VERSION, Progress, classpath, kafka_folder, silent
from streams.sandbox.kafka.java import find_java
from streams.sandbox.kafka.jvm import Jvm
from streams.sandbox.kafka.properties import Node, PropertyValue
from streams.sandbox.kafka.readiness import not_ready
from streams.sandbox.kafka.storage import (
    claim,
    ended,
    format_storage,
    last_lines,
    lay_out,
    log_file,
    properties_file,
)
from streams.sandbox.ports import HeldPort, hold_ports
from streams.sandbox.supervised import SupervisedProcesses

_GRACE_SECONDS = 10.0
_POLL_SECONDS = 0.02
_READY_WITHIN = 90.0  # seconds; then a broker that is not ready has failed


@dataclass(frozen=True, slots=True)
class Broker:
    """One running, paused or dead broker.

    Attributes:
        id: its node id, from 1.
        address: host:port.
        pid: its process id, the last one if it is dead.
        log: the file with its output.
    """

    id: int
    address: str
    pid: int
    log: Path


class EmbeddedKafka:
    """A real Apache Kafka on 127.0.0.1, in KRaft mode, that ends when its process does, however that ends.

    Blocking: from a coroutine, use `asyncio.to_thread(kafka.start)`. As a context manager, starts and stops.
    """

    def __init__(
        self,
        brokers: int = 1,
        folder: Path | str | None = None,
        properties: Mapping[str, PropertyValue] | None = None,
        *,
        port: int | None = None,
        version: str = KAFKA_VERSION,
        heap: str = "512m",
        jvm_options: Sequence[str] = (),
        java: Path | None = None,
        progress: Progress = silent,
    ) -> None:
        """Describe a cluster; nothing starts yet.

        Args:
            brokers: how many, each broker and controller in one; 1 or 3 (or any odd number).
            folder: is kept, and a later cluster with as many brokers goes on from it. None: a temporary one.
            properties: broker properties that win over the generated ones.
            port: of the first broker, the others follow; None: free ones.
            version: of Apache Kafka.
            heap: the JVM's -Xmx.
            jvm_options: more options for the JVM, after ours.
            java: the `java` program to use instead of looking for one.
            progress: is told what is being done while that takes time.
        """
        if brokers < 1 or brokers % 2 == 0:
            raise ValueError(f"a cluster has 1 or 3 brokers (any odd number, for the quorum), not {brokers}")
        self._count = brokers
        self._folder = None if folder is None else Path(folder).absolute()
        self._properties = dict(properties or {})
        self._port = port
        self._version = version
        self._heap = heap
        self._jvm_options = tuple(jvm_options)
        self._java = java
        self._progress = progress
        self._ports: tuple[HeldPort, ...] = ()
        self._nodes: tuple[Node, ...] = ()
        self._pids: dict[int, int] = {}
        self._absent: set[int] = set()
        self._processes: SupervisedProcesses | None = None

    # What a client needs

    @property
    def bootstrap_servers(self) -> str:
        """host:port of every broker, separated by commas."""
        return ",".join(node.address for node in self._started_nodes())

    @property
    def brokers(self) -> dict[int, Broker]:
        """The brokers by node id, dead ones too."""
        return {
            node.id: Broker(node.id, node.address, self._pids[node.id], log_file(node))
            for node in self._started_nodes()
        }

    @property
    def folder(self) -> Path:
        """Where everything is kept."""
        return self._started_nodes()[0].folder.parent

    # From start to stop

    def start(self) -> None:
        """Start all brokers and return when clients can work with them.

        Raises:
            EmbeddedKafkaUnavailable: there is no Java, or there are no jars.
            BrokerFailed: a broker ended or was not ready in time.
            SandboxError: the port is in use, or the folder belongs to another cluster.
        """
        if self._processes is not None:
            raise EmbeddedKafkaError("This cluster was started already.")
        java = find_java() if self._java is None else find_java([self._java])
        jars = classpath(progress=self._progress, version=self._version)
        self._jvm = Jvm(java, jars, self._heap, self._jvm_options)
        self._archive = self._jvm.archive(kafka_folder(version=self._version))
        self._progress(f"starting {self._count} broker(s)")
        try:
            self._start_or_leave_nothing()
        except BrokerFailed as error:
            # Where a port cannot be held until its broker has it, somebody else may have been faster.
            if self._port is not None or "Address already in use" not in str(error):
                raise
            self._start_or_leave_nothing()

    def stop(self) -> None:
        """End all brokers, wait until they are gone, and remove a temporary folder. Harmless when stopped."""
        if self._processes is not None:
            self._processes.close()
            self._processes = None
        for port in self._ports:
            port.release()
        self._ports = ()

    def __enter__(self) -> EmbeddedKafka:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # Chaos

    def kill(self, broker_id: int) -> None:
        """SIGKILL this broker, paused or not, and wait until it is gone."""
        self._signal(broker_id, signal.SIGKILL)
        self._started().wait(str(broker_id), _GRACE_SECONDS)
        self._absent.add(broker_id)

    def pause(self, broker_id: int) -> None:
        """SIGSTOP: it keeps its connections and says nothing."""
        if not self._signal(broker_id, signal.SIGSTOP):
            raise EmbeddedKafkaError(f"Broker {broker_id} does not run.")
        self._absent.add(broker_id)

    def resume(self, broker_id: int) -> None:
        """SIGCONT after a `pause`; does not wait until the others take it back, see `wait_until_ready`."""
        if not self._signal(broker_id, signal.SIGCONT):
            raise EmbeddedKafkaError(f"Broker {broker_id} does not run.")
        self._absent.discard(broker_id)

    def restart(self, *broker_ids: int) -> None:
        """End these brokers in good order if they run (all, if none is named), start them, wait until ready.

        Name several at once when one alone would find no quorum to join.

        Raises:
            BrokerFailed: a broker ended or was not ready in time.
        """
        nodes = [self._node(number) for number in broker_ids] or list(self._started_nodes())
        self._started().end([str(node.id) for node in nodes], _GRACE_SECONDS)
        for node in nodes:
            self._launch(node)
        self.wait_until_ready()

    def check(self) -> None:
        """Look whether every broker still runs that should.

        Raises:
            BrokerFailed: one ended that nobody here killed.
        """
        for node in self._started_nodes():
            if node.id not in self._absent:
                self._check(node, 0.0)

    def wait_until_ready(self) -> None:
        """Wait until clients can work with every broker that is neither killed nor paused.

        Raises:
            BrokerFailed: one of them ended, or the start's time-out ran out.
        """
        nodes = [node for node in self._started_nodes() if node.id not in self._absent]
        if not nodes:
            raise EmbeddedKafkaError("No broker runs.")
        deadline = time.monotonic() + _READY_WITHIN
        while missing := not_ready(nodes):
            for node in nodes:
                self._check(node, _POLL_SECONDS / len(nodes))
            if time.monotonic() > deadline:
                raise BrokerFailed(
                    f"Kafka was not ready after {_READY_WITHIN:g} s: {missing}.{last_lines(nodes[0])}"
                )

    # Steps of a start

    def _start_or_leave_nothing(self) -> None:
        try:
            self._start_once()
        except BaseException:
            self.stop()
            raise

    def _start_once(self) -> None:
        self._ports = hold_ports(self._count, self._port)
        if self._folder is None:
            root = Path(tempfile.mkdtemp(prefix="embedded-kafka-"))
            self._processes = SupervisedProcesses(grace=0.0, remove=root)
        else:
            root = self._folder
            with claim(root) as lock:
                self._processes = SupervisedProcesses(grace=_GRACE_SECONDS, lock=lock)
        ports, controller_ports = self._ports[: self._count], self._ports[self._count :]
        self._nodes = tuple(
            Node(i + 1, port.number, controller_port.number, root / f"broker-{i + 1}")
            for i, (port, controller_port) in enumerate(zip(ports, controller_ports, strict=True))
        )
        self._absent.clear()
        lay_out(self._nodes, self._properties)
        command = partial(self._jvm.argv, self._archive.options_to_use())
        format_storage(self._nodes, self._processes, command)
        for node in self._nodes:
            self._launch(node)
        self.wait_until_ready()

    def _launch(self, node: Node) -> None:
        for port in self._ports:
            if port.number in (node.port, node.controller_port):
                port.make_way()
        # One broker alone, with our own options: of several, the last to end waits for a quorum that is gone.
        written = self._archive.file_to_write() if self._count == 1 and not self._jvm_options else None
        archiving = self._archive.options_to_write(written) if written else self._archive.options_to_use()
        argv = self._jvm.argv(archiving, "kafka.Kafka", str(properties_file(node)))
        archive = (written, self._archive.file) if written else None
        self._pids[node.id] = self._started().start(str(node.id), argv, log_file(node), archive=archive)
        self._absent.discard(node.id)

    # Small things

    def _signal(self, broker_id: int, number: int) -> bool:
        return self._started().signal(str(self._node(broker_id).id), number)

    def _check(self, node: Node, patience: float) -> None:
        code = self._started().wait(str(node.id), patience)
        if code is not None:
            raise BrokerFailed(f"Broker {node.id} {ended(code)}.{last_lines(node)}")

    def _node(self, broker_id: int) -> Node:
        for node in self._started_nodes():
            if node.id == broker_id:
                return node
        raise ValueError(f"There is no broker {broker_id}, only 1 to {self._count}.")

    def _started(self) -> SupervisedProcesses:
        if self._processes is None:
            raise EmbeddedKafkaError("This cluster is not started.")
        return self._processes

    def _started_nodes(self) -> tuple[Node, ...]:
        self._started()
        return self._nodes
