"""Workers as processes, and a proxy between them and a cluster."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.sandbox.kafka import EmbeddedKafka
from streams.sandbox.worker import Installation
from tests.faults.kafka_proxy import KafkaProxy


@pytest.fixture
def proxy(kafka: EmbeddedKafka) -> Iterator[KafkaProxy]:
    """A proxy before the session's Kafka, with no rules yet."""
    with KafkaProxy(kafka) as between:
        yield between


@pytest.fixture
def install(
    kafka: EmbeddedKafka, unique_name: Callable[[str], str], tmp_path: Path
) -> Iterator[Callable[..., Installation]]:
    """Make an installation: topics, group and settings of its own. Its workers are killed in the end."""
    made: list[Installation] = []

    def make(cluster: EmbeddedKafka = kafka, **settings: object) -> Installation:
        name = unique_name("t")
        made.append(Installation(cluster.bootstrap_servers, name, tmp_path / name, **settings))
        (tmp_path / name).mkdir()
        return made[-1]

    yield make
    for each in made:
        each.kill_all()
