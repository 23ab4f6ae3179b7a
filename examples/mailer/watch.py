"""What a mailer counts, and what waits for it: for Prometheus and the probes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from examples import web

FRESH = 30.0  # seconds that a lag counts as known, from when Kafka told it


@dataclass(frozen=True, slots=True)
class InHand:
    """The first record of a partition that has neither letter nor dead letter yet."""

    offset: int
    written_at: float  # seconds since the epoch


class Watch(web.Watch, Collector):
    """Counts what the mailer did, and knows what waits. What is not known is left out, and never 0."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` tells seconds since the epoch."""
        super().__init__(clock)
        self._lags: dict[int, int] = {}
        self._lags_at: float | None = None
        self.in_hand: dict[int, InHand] = {}  # by partition
        self.sent = self.counter("mailer_letters_sent", "Letters that the server has taken.", "variant")
        self.failed = self.counter("mailer_letters_failed", "Records that became dead letters.", "reason")
        self.delayed = self.counter(
            "mailer_attempts_failed", "Attempts to send a letter that will be repeated.", "reason"
        )
        for variant in ("one_button", "two_button"):
            self.sent.labels(variant)  # a counter that is not there has no rate when it comes
        self.registry.register(self)

    def know_lags(self, lags: dict[int, int]) -> None:
        """Kafka has just told how many records wait in each partition that is this mailer's."""
        self._lags, self._lags_at = lags, self._clock()

    @property
    def is_ready(self) -> bool:
        """Whether it reads from Kafka, and goes on doing so."""
        return super().is_ready and self._lags_known

    @property
    def _lags_known(self) -> bool:
        return self._lags_at is not None and self._clock() - self._lags_at < FRESH

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Make the gauges of this moment."""
        yield GaugeMetricFamily(
            "mailer_ready", "1 if the mailer reads from Kafka, 0 if not.", float(self.is_ready)
        )
        lags = GaugeMetricFamily(
            "mailer_lag_records",
            "Records that have neither letter nor dead letter yet; absent while Kafka does not tell.",
            labels=["partition"],
        )
        if self._lags_known:
            for partition, lag in sorted(self._lags.items()):
                lags.add_metric([str(partition)], lag)
        yield lags
        age = GaugeMetricFamily(
            "mailer_oldest_letter_age_seconds",
            "Since when the oldest record waits for its letter; 0: none waits; absent: not known.",
        )
        waiting = [each.written_at for each in list(self.in_hand.values())]
        if waiting or (self._lags_known and not sum(self._lags.values())):
            age.add_metric([], max(0.0, self._clock() - min(waiting)) if waiting else 0.0)
        yield age
