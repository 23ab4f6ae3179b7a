"""A RabbitMQ, and bridges from it to the session's Kafka."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.proca.demo.processes import BridgeProcess
from examples.proca.demo.rabbitmq import RabbitMq, absent
from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.supervised import SupervisedProcesses


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMq]:
    """A started node for the whole session; skips where it is not installed, and fails in CI."""
    if (why := absent()) is not None:
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    processes = SupervisedProcesses(grace=0.0)
    node = RabbitMq(processes, tmp_path_factory.mktemp("rabbitmq"))
    try:
        node.start()
        yield node
    finally:
        node.close()
        processes.close()


@pytest.fixture
def bridge(
    rabbitmq: RabbitMq, kafka: EmbeddedKafka, unique_name: Callable[[str], str], tmp_path: Path
) -> Iterator[Callable[..., BridgeProcess]]:
    """Make a bridge that is not started: its command, the topic it writes to, more settings."""
    processes = SupervisedProcesses(grace=0.0)
    made: list[BridgeProcess] = []
    prefix = unique_name("queue")

    def make(command: str, topic: str, **settings: Any) -> BridgeProcess:
        given = {
            "amqp_url": rabbitmq.url,
            "organisations": "310",
            "kafka_bootstrap_servers": kafka.bootstrap_servers,
            "actions_topic": topic,
            "status_topic": topic,
            "queue_prefix": prefix,
            "retry_first": 0.1,
            "retry_longest": 0.4,
        }
        made.append(BridgeProcess(processes, command, tmp_path, given | settings, f"bridge-{len(made)}"))
        return made[-1]

    yield make
    for each in made:
        each.close()
    processes.close()
