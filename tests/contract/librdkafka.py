"""librdkafka, by Confluent's client for Python: what Go, .NET, PHP, Ruby and Rust programs read with."""

import secrets
import time

from confluent_kafka import Consumer, TopicPartition

from tests.contract.records import Seen


def read(
    bootstrap_servers: str, topic: str, count: int, isolation_level: str = "read_committed"
) -> list[Seen]:
    """Read `count` records, or what there is of them within 30 s."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"librdkafka-{secrets.token_hex(4)}",
            "isolation.level": isolation_level,
            "enable.auto.commit": False,
        }
    )
    seen: list[Seen] = []
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        deadline = time.monotonic() + 30
        while len(seen) < count and time.monotonic() < deadline:
            message = consumer.poll(1.0)
            if message is not None:
                assert message.error() is None, message.error()
                headers = tuple(message.headers() or ())
                place = message.partition(), message.offset()
                seen.append(Seen(*place, message.key(), message.value(), headers))
    finally:
        consumer.close()
    return seen
