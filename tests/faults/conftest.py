"""Workers as processes, and a proxy between them and the session's Kafka."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streams.embedded import EmbeddedKafka
from tests.faults.kafka_proxy import KafkaProxy
from tests.integration.conftest import installation

__all__ = ["installation", "proxy"]


@pytest.fixture
def proxy(kafka: EmbeddedKafka) -> Iterator[KafkaProxy]:
    """A proxy before the session's Kafka, with no rules yet."""
    with KafkaProxy(kafka) as between:
        yield between
