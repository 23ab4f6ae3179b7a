"""Topics of a round: made, filled and asked how far they are. All by librdkafka, which costs little CPU."""

from __future__ import annotations

import time
from collections.abc import Iterable

from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

_ADMIN_SECONDS = 30.0


class Topics:
    """The topics of one broker."""

    def __init__(self, bootstrap_servers: str) -> None:
        """Connect to a broker that runs."""
        self.bootstrap_servers = bootstrap_servers
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})

    def make(self, name: str, partitions: int, **config: str) -> None:
        """Make a topic; `config` has Kafka's names with underscores for dots.

        The broker stamps what is appended: that clock is the same for every contender.
        """
        settings = {key.replace("_", "."): value for key, value in config.items()}
        settings.setdefault("message.timestamp.type", "LogAppendTime")
        topic = NewTopic(name, partitions, 1, config=settings)
        self._admin.create_topics([topic])[name].result(_ADMIN_SECONDS)

    def delete(self, *names: str) -> None:
        """Delete topics, to give their disk space back."""
        for future in self._admin.delete_topics(list(names)).values():
            future.result(_ADMIN_SECONDS)

    def fill(self, name: str, records: Iterable[tuple[bytes, bytes]], compression: str = "none") -> float:
        """Put these records on a topic as Java's producers place them; return the seconds that it took."""
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "log_level": 0,  # that a broker has ended is no news to us
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "batch.size": 900_000,
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": 256 * 1024,
                "compression.type": compression,
            }
        )
        failures: list[str] = []

        def delivered(error: object, _: object) -> None:
            if error is not None:
                failures.append(str(error))

        begin = time.monotonic()
        for key, value in records:
            while True:
                try:
                    producer.produce(name, value, key, on_delivery=delivered)
                    break
                except BufferError:
                    producer.poll(0.05)
            producer.poll(0)
        producer.flush()
        if failures:
            raise RuntimeError(f"{len(failures)} records did not reach {name}: {failures[0]}")
        return time.monotonic() - begin

    def ends(self, name: str, partitions: int) -> dict[int, int]:
        """The offset after the last record of each partition, committed or not."""
        asked = {TopicPartition(name, number): OffsetSpec.latest() for number in range(partitions)}
        found = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED)
        return {place.partition: future.result(_ADMIN_SECONDS).offset for place, future in found.items()}

    def committed(self, group: str, name: str, partitions: int) -> dict[int, int]:
        """The offsets that a group has committed; 0 where it has none."""
        places = [TopicPartition(name, number) for number in range(partitions)]
        asked = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)])
        found = asked[group].result(_ADMIN_SECONDS).topic_partitions
        return {place.partition: max(0, place.offset) for place in found}
