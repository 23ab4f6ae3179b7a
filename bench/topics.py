"""Topics of a round: made, filled and asked how far they are. All by librdkafka, which costs little CPU."""

import contextlib
import time
from collections.abc import Callable, Iterable

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

_ADMIN_SECONDS = 30.0
_ANSWERS_WITHIN = 10.0  # seconds
_AGAIN_AFTER = 0.2  # seconds


class Topics:
    """The topics of one broker."""

    def __init__(self, bootstrap_servers: str) -> None:
        """Connect to a broker that runs."""
        self.bootstrap_servers = bootstrap_servers
        self._connect()

    def _connect(self) -> None:
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})

    def make(self, name: str, partitions: int, **config: str) -> None:
        """Make a topic; `config` has Kafka's names with underscores for dots.

        The broker stamps what is appended: that clock is the same for every contender.
        """
        settings = {key.replace("_", "."): value for key, value in config.items()}
        settings.setdefault("message.timestamp.type", "LogAppendTime")
        topic = NewTopic(name, partitions, 1, config=settings)
        self._admin.create_topics([topic])[name].result(_ADMIN_SECONDS)

    def sweep(self, part: str) -> None:
        """Delete every topic that has this in its name: those that a contender made for itself as well.

        The broker goes on with none of their files and partitions; that it cannot be asked is no error here.
        """
        with contextlib.suppress(KafkaException, TimeoutError):
            there = self._admin.list_topics(timeout=_ANSWERS_WITHIN).topics
            if names := [name for name in there if part in name]:
                for future in self._admin.delete_topics(names).values():
                    with contextlib.suppress(KafkaException, TimeoutError):
                        future.result(_ADMIN_SECONDS)

    def answers(self) -> bool:
        """Whether the broker does."""
        try:
            self._admin.list_topics(timeout=_ANSWERS_WITHIN)
        except KafkaException:
            return False
        return True

    def fill(self, name: str, records: Iterable[tuple[bytes, bytes]], compression: str = "none") -> None:
        """Put these records on a topic as Java's producers place them."""
        self._fill(self._producer(compression), name, records)

    def fill_at_once(
        self, name: str, records: Iterable[tuple[bytes, bytes]], partitions: int, compression: str = "none"
    ) -> dict[int, int]:
        """Put these records on an empty topic in one transaction: all can be read in one moment.

        Returns the offset after the last record of each partition; the transaction's end stands behind it.
        """
        producer = self._producer(compression, **{"transactional.id": f"fill-{name}"})
        producer.init_transactions(_ADMIN_SECONDS)
        producer.begin_transaction()
        self._fill(producer, name, records)
        ends = self.ends(name, partitions)
        producer.commit_transaction(_ADMIN_SECONDS)
        return ends

    def _producer(self, compression: str, **more: str) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "log_level": 0,  # that a broker has ended is no news to us
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "batch.size": 900_000,
                "queue.buffering.max.messages": 200_000,
                "queue.buffering.max.kbytes": 256 * 1024,
                "compression.type": compression,
                **more,
            }
        )

    def _fill(self, producer: Producer, name: str, records: Iterable[tuple[bytes, bytes]]) -> None:
        failures: list[str] = []

        def delivered(error: object, _: object) -> None:
            if error is not None:
                failures.append(str(error))

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

    def ends(self, name: str, partitions: int) -> dict[int, int]:
        """The offset after the last record of each partition, committed or not."""
        asked = {TopicPartition(name, number): OffsetSpec.latest() for number in range(partitions)}

        def ask() -> dict[int, int]:
            found = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED)
            return {place.partition: each.result(_ADMIN_SECONDS).offset for place, each in found.items()}

        return self._patiently(ask)

    def committed(self, group: str, name: str, partitions: int) -> dict[int, int]:
        """The offsets that a group has committed; 0 where it has none."""
        places = [TopicPartition(name, number) for number in range(partitions)]

        def ask() -> dict[int, int]:
            asked = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)])
            found = asked[group].result(_ADMIN_SECONDS).topic_partitions
            return {place.partition: max(0, place.offset) for place in found}

        return self._patiently(ask)

    def _patiently(self, ask: Callable[[], dict[int, int]]) -> dict[int, int]:
        """Ask again for a while: of a topic or group made just now, not every broker thread has heard.

        Each time by a new client: one that has seen the topic without leaders may go on saying so.
        """
        until = time.monotonic() + _ADMIN_SECONDS
        while True:
            try:
                return ask()
            except KafkaException:
                if time.monotonic() > until:
                    raise
                time.sleep(_AGAIN_AFTER)
                self._connect()

    def owners(self, group: str, name: str) -> dict[int, str]:
        """The member of a group that has each partition of a topic; none while the group is not settled."""
        try:
            found = self._admin.describe_consumer_groups([group])[group].result(_ADMIN_SECONDS)
        except KafkaException:
            return {}
        if found.state != ConsumerGroupState.STABLE:
            return {}
        return {
            place.partition: member.member_id
            for member in found.members
            for place in member.assignment.topic_partitions
            if place.topic == name
        }
