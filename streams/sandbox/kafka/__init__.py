"""A real Apache Kafka for the demo and the tests: no Docker, no installation, one Python object.

>>> with EmbeddedKafka() as kafka:  # doctest: +SKIP
...     print(kafka.bootstrap_servers)
"""

from streams.sandbox.kafka.cluster import Broker, EmbeddedKafka
from streams.sandbox.kafka.errors import BrokerFailed, EmbeddedKafkaError, EmbeddedKafkaUnavailable

__all__ = ["Broker", "BrokerFailed", "EmbeddedKafka", "EmbeddedKafkaError", "EmbeddedKafkaUnavailable"]
