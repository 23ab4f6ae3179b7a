"""A proxy between workers and a cluster."""

from collections.abc import Iterator

import pytest

from streams.sandbox.kafka import EmbeddedKafka
from tests.faults.kafka_proxy import KafkaProxy


@pytest.fixture
def proxy(kafka: EmbeddedKafka) -> Iterator[KafkaProxy]:
    """A proxy before the session's Kafka, with no rules yet."""
    with KafkaProxy(kafka.bootstrap_servers) as between:
        yield between
