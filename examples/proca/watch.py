"""What the bridge counts, and what waits for it: for Prometheus and the probes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from examples import web

STUCK = 30.0  # seconds after which a message that Kafka has not taken makes the bridge unready


class Watch(web.Watch, Collector):
    """Counts what the bridge did. What is not known is left out, and never 0."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells seconds since the epoch."""
        super().__init__(clock)
        self.connected = False  # to both sides, and consuming
        self.queue_messages: int | None = None  # in the bridge's queue, without those in hand
        self.in_hand_since: float | None = None  # the oldest message that is not settled, seconds
        self.forwarded = self.counter(
            "bridge_messages_forwarded", "Messages that Kafka has and RabbitMQ was told so.", "topic"
        )
        self.without_key = self.counter(
            "bridge_messages_without_key", "Forwarded messages whose key cannot be read.", "topic"
        )
        self.redelivered = self.counter(
            "bridge_messages_redelivered", "Messages that came again: Kafka may have them twice.", "topic"
        )
        self.too_large = self.counter(
            "bridge_messages_too_large", "Messages in the queue of those that Kafka has no room for.", "topic"
        )
        self.skipped = self.counter(
            "bridge_messages_skipped", "Messages that become no record, by reason.", "topic", "why"
        )
        self.failures = self.counter(
            "bridge_failures", "Connections that ended or could not be made, by error.", "error"
        )
        self._topic = ""
        self.registry.register(self)

    def name_topic(self, topic: str) -> None:
        """Name the topic that is written, for every metric.

        Its counters are shown from the start: one that is not there has no rate when it comes.
        """
        self._topic = topic
        for each in (self.forwarded, self.without_key, self.redelivered, self.too_large):
            each.labels(topic)

    @property
    def is_ready(self) -> bool:
        """Whether it consumes, and Kafka takes what it writes."""
        since = self.in_hand_since
        moving = since is None or self._clock() - since < STUCK
        return super().is_ready and self.connected and moving

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Make the gauges of this moment."""
        since = self.in_hand_since
        for name, meaning, value in (
            ("ready", "1 if the bridge consumes and Kafka takes what it writes.", float(self.is_ready)),
            (
                "queue_messages",
                "Messages in the bridge's queue; absent while RabbitMQ does not tell.",
                self.queue_messages,
            ),
            (
                "oldest_message_age_seconds",
                "Since when the oldest message in hand waits for Kafka; 0: none waits.",
                0.0 if since is None else max(0.0, self._clock() - since),
            ),
        ):
            gauge = GaugeMetricFamily(f"bridge_{name}", meaning, labels=["topic"])
            if value is not None:
                gauge.add_metric([self._topic], value)
            yield gauge
