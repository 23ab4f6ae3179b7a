"""The generated server.properties of one broker; a pure function of the cluster's shape.

Every key is Kafka's own, see "Broker Configs" in its documentation. What is not here has Kafka's default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streams.sandbox.ports import HOST

PropertyValue = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Node:
    """One combined broker and controller.

    Attributes:
        id: `node.id`, from 1.
        port: what clients and other brokers connect to.
        controller_port: what the KRaft quorum speaks on.
        folder: holds its server.properties, its log file and its `data`.
    """

    id: int
    port: int
    controller_port: int
    folder: Path

    @property
    def address(self) -> str:
        """host:port, as in `bootstrap_servers`."""
        return f"{HOST}:{self.port}"


def server_properties(
    node: Node, cluster: tuple[Node, ...], extra: Mapping[str, PropertyValue]
) -> dict[str, PropertyValue]:
    """This node's properties; `extra` wins over everything generated."""
    copies = min(3, len(cluster))
    in_sync = max(1, copies - 1)
    voters = ",".join(f"{voter.id}@{HOST}:{voter.controller_port}" for voter in cluster)
    return {
        "process.roles": "broker,controller",
        "node.id": node.id,
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://{node.address},CONTROLLER://{HOST}:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{node.address}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(node.folder / "data"),
        # A topic is made on purpose or not at all: a typing error must not make one.
        "auto.create.topics.enable": False,
        "num.partitions": 4,
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
        # 50 each by default: a second of start time, and nobody here has 50 groups.
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.num.partitions": 4,
        # Three seconds by default, in the hope of more members before the first rebalance.
        "group.initial.rebalance.delay.ms": 0,
        # 6,000 by default; a test of a dead consumer need not wait that long.
        "group.min.session.timeout.ms": 1000,
        # 10,000 by default: how late after its time-out an abandoned transaction is aborted.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000,
        # 9,000 and 2,000 by default: how long a killed broker's partitions wait for a new leader, and
        # how long its successor waits before it may take the same node id.
        "broker.session.timeout.ms": 3000,
        "broker.heartbeat.interval.ms": 500,
        # 128 MiB by default, taken from the heap at start, whether or not there is anything to clean.
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        # 10 MiB by default, twice for each partition, which the kernel fills with zeros at the first record:
        # 25 ms of CPU a partition. So a segment ends at some 350 MB instead of 1 GiB.
        "log.index.size.max.bytes": 1024 * 1024,
        "num.network.threads": 2,
        "num.io.threads": 4,
        **extra,
    }


def render(properties: Mapping[str, PropertyValue]) -> str:
    """As text in the format of `java.util.Properties`, whose escapes a backslash or line end needs."""
    lines = []
    for key, value in properties.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
        lines.append(f"{key}={escaped}\n")
    return "".join(lines)
