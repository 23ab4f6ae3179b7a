"""A real Apache Kafka for the demo and the tests: no Docker, no installation, one Python object.

>>> with EmbeddedKafka() as kafka:  # doctest: +SKIP
...     print(kafka.bootstrap_servers)
"""

from streams.embedded.cluster import Broker, EmbeddedKafka
from streams.embedded.errors import BrokerFailed, EmbeddedKafkaError, EmbeddedKafkaUnavailable

__all__ = ["Broker", "BrokerFailed", "EmbeddedKafka", "EmbeddedKafkaError", "EmbeddedKafkaUnavailable"]
