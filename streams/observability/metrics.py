"""Counts what the metric catalogue names, and the only module of the worker that knows Prometheus.

Lanes and lookups report here, a transaction's worth at a time: counting costs a fraction of a
microsecond an email, and what is counted is on the broker. Label values are bounded: organisations that the
configuration names, everyone else is ``other``.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.actions.decision import LETTERS
from streams.actions.duplicates import DUPLICATE
from streams.actions.outcomes import DeadLettered, Emailed, Ignored, Rekeyed
from streams.delivery.fetched import Many
from streams.delivery.lane import Lane
from streams.delivery.results import Processed, RecordOutcome, Release
from streams.delivery.timestamps import is_known
from streams.messages.decode import ErrorClass, LookupOutcome
from streams.messages.no_letter import NoLetter
from streams.observability.metric_catalogue import (
    ACTIONS_LOST,
    CATALOGUE,
    DEAD_LETTERS,
    DELAY,
    EMAILS,
    EVENT_LOOP_LAG,
    IGNORED,
    JUDGED,
    LOOKUP_DURATION,
    LOOKUPS,
    METADATA_REFUSED,
    PENDING,
    REKEYED,
    RELEASED,
    STATUSES,
    STILL,
    STORE_SET_ASIDE,
    TAKEN,
    TRANSACTIONS,
    TRANSACTIONS_FAILED,
    UNSETTLED,
    Described,
)
from streams.statuses.store_owner import SetAside

Sample = tuple[tuple[str, ...], float]

_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
OTHER = "other"


class Histogram:
    """Counts of durations in seconds. prometheus-client's own costs a microsecond an observation."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: Iterable[float], times: int = 1) -> None:
        """Count each of `seconds` so many times; one below zero (a clock ahead of ours) counts as zero."""
        counts = self.counts
        for value in seconds:
            counts[bisect_left(_BOUNDS, value)] += times
            if value > 0:
                self.total += value * times

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Cumulated counts, as Prometheus has them."""
        names = [*map(str, _BOUNDS), "+Inf"]
        return list(zip(names, accumulate(self.counts), strict=True))


def _summed(entries: Sequence[Processed]) -> tuple[Counter[int], Counter[RecordOutcome]]:
    """Return the timestamps of emails' records, and all outcomes, with their numbers."""
    timestamps = Counter([record.timestamp for record, result in entries if isinstance(result[1], Emailed)])
    outcomes = Counter([entry[1].outcome for entry in entries])
    for many in [outcome for outcome in outcomes if isinstance(outcome, Many)]:
        del outcomes[many]
        timestamps.update(many.timestamps)
        outcomes.update(many.outcomes)
    return timestamps, outcomes


class Metrics(Collector):
    """Counts, and shows what it counted. Used from one thread."""

    def __init__(
        self,
        topic: str,
        status_topic: str = "supporter-status",
        *,
        named: Callable[[int], bool] = lambda _: False,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Start at zero.

        Args:
            topic: where the worker reads actions.
            status_topic: where it reads statuses.
            named: whether an organisation gets a label value of its own.
            now: wall clock, seconds since the epoch; NaN: unknown, and no delay is counted.
        """
        self._named = named
        self._topic = topic
        self._now = now
        self._counts: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
        self._delay = Histogram()
        self._lookup_durations: dict[str, Histogram] = defaultdict(Histogram)
        self._event_loop_lag = Histogram()
        self._gauges: list[tuple[Described, Callable[[], Iterable[Sample]]]] = []
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        # Shown from the start: a rate needs something to begin at.
        self._counts[EMAILS.name].update(dict.fromkeys(LETTERS, 0))
        self._counts[IGNORED.name].update({(why,): 0 for why in (*NoLetter, "tombstone", DUPLICATE)})
        classes = [(each, error_class) for each in (topic, status_topic) for error_class in ErrorClass]
        self._counts[DEAD_LETTERS.name].update(dict.fromkeys(classes, 0))
        self._counts[RELEASED.name].update({(why,): 0 for why in Release})
        self._counts[STATUSES.name].update(
            {(result,): 0 for result in ("applied", "outdated", "dead_letter")}
        )
        self._counts[STORE_SET_ASIDE.name].update({(reason,): 0 for reason in SetAside})
        for plain in (TAKEN, REKEYED, TRANSACTIONS, METADATA_REFUSED):
            self._counts[plain.name][()] = 0

    # -- what is reported ---------------------------------------------------------------------------------

    def taken(self, partition: int, count: int) -> None:  # noqa: ARG002 - an observer's
        """Count records that a lane took."""
        self._counts[TAKEN.name][()] += count

    def released(self, partition: int, why: Release, count: int) -> None:  # noqa: ARG002 - an observer's
        """Count records that left a lane without an outcome."""
        self._counts[RELEASED.name][(why,)] += count

    def committed(self, partition: int, entries: Sequence[Processed]) -> None:  # noqa: ARG002 - an observer's
        """Count the outcomes of a transaction, and the delay of its emails."""
        self._counts[TRANSACTIONS.name][()] += 1
        now = self._now()
        # Thousands of entries at once, and at most one timestamp a millisecond among them.
        timestamps: Mapping[int, int]
        outcomes: Mapping[RecordOutcome, int]
        if len(entries) == 1 and isinstance(alone := entries[0][1].outcome, Many):  # nearly always
            timestamps, outcomes = alone.timestamps, alone.outcomes
        else:
            timestamps, outcomes = _summed(entries)
        for timestamp, count in timestamps.items():
            if is_known(timestamp, now):  # never at an unknown time
                self._delay.observe((now - timestamp / 1000,), count)
        for outcome, count in outcomes.items():
            match outcome:
                case Emailed(variant, reason, asked, cause, org_id):
                    self._counts[EMAILS.name][variant, reason] += count
                    if asked:
                        self._counts[LOOKUPS.name][self.label(org_id), asked, cause] += count
                case Ignored(why):
                    self._counts[IGNORED.name][(why,)] += count
                case Rekeyed():
                    self._counts[REKEYED.name][()] += count
                case DeadLettered(error_class):
                    self._counts[DEAD_LETTERS.name][self._topic, error_class] += count

    def failed(self, partition: int, failure: str) -> None:  # noqa: ARG002 - an observer's
        """Count a failed transaction by its class."""
        self._counts[TRANSACTIONS_FAILED.name][(failure,)] += 1

    def judged(self, path: str, why: str, count: int) -> None:
        """Count actions by the path that judged them."""
        self._counts[JUDGED.name][path, why] += count

    def metadata_refused(self, partition: int) -> None:  # noqa: ARG002 - an observer's
        """Count commit metadata that could not be read."""
        self._counts[METADATA_REFUSED.name][()] += 1

    def ingested(self, topic: str, applied: int, outdated: int, dead_letters: Sequence[str]) -> None:
        """Count rows of the status topic."""
        results = ("applied", applied), ("outdated", outdated), ("dead_letter", len(dead_letters))
        for result, count in results:
            self._counts[STATUSES.name][(result,)] += count
        for error_class in dead_letters:
            self._counts[DEAD_LETTERS.name][topic, error_class] += 1

    def answered(self, org_id: int | None, outcome: LookupOutcome, seconds: float) -> None:  # noqa: ARG002 - an observer's
        """Note one exchange with a lookup service."""
        self._lookup_durations[str(outcome.outcome)].observe((seconds,))

    def store_set_aside(self, reason: str) -> None:
        """Count a partition's store that was set aside."""
        self._counts[STORE_SET_ASIDE.name][(reason,)] += 1

    def actions_lost(self, topic: str, partition: int, count: int) -> None:
        """Count offsets that were deleted before they were read."""
        self._counts[ACTIONS_LOST.name][topic, str(partition)] += count

    def lagged(self, seconds: float) -> None:
        """Note how late the event loop was."""
        self._event_loop_lag.observe((seconds,))

    def state_changed(self, org_id: int | None, state: object) -> None:
        """Do nothing: the gauge reads the state when it is scraped."""

    def gauge(self, described: Described, read: Callable[[], Iterable[Sample]]) -> None:
        """Show what `read` gives at each scrape: (label values, value), summed where label values repeat."""
        self._gauges.append((described, read))

    def lanes(self, read: Callable[[], Iterable[tuple[str, Iterable[Lane]]]]) -> None:
        """Show the lanes that `read` gives at each scrape, by topic."""
        for described, value in (
            (UNSETTLED, lambda lane: lane.uncommitted),
            (PENDING, lambda lane: lane.awaiting_lookup),
            (STILL, lambda lane: lane.stalled_for),
        ):
            self.gauge(
                described,
                lambda value=value: [  # type: ignore[misc]  # the default binds it now
                    ((topic, str(lane.partition)), value(lane)) for topic, lanes in read() for lane in lanes
                ],
            )

    def label(self, org_id: int | None) -> str:
        """Return an organisation's label value."""
        return str(org_id) if org_id is not None and self._named(org_id) else OTHER

    def counts(self, described: Described) -> Mapping[tuple[str, ...], int]:
        """Return a counter's values by its label values, for the live page."""
        return self._counts[described.name]

    def total(self, described: Described, **labels: str) -> int:
        """Return the sum of a counter over the label values given, for the log and the live views."""
        wanted = [labels.get(name) for name in described.labels]
        return sum(
            count
            for values, count in self._counts[described.name].items()
            if all(want is None or want == value for want, value in zip(wanted, values, strict=True))
        )

    # -- what is shown ------------------------------------------------------------------------------------

    def describe(self) -> Iterator[Metric]:
        """Describe nothing in advance; prometheus-client then does not collect at registration."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Give every metric of the catalogue."""
        for described in CATALOGUE:
            if described.kind == "counter":
                family: Metric = CounterMetricFamily(
                    described.name, described.meaning, labels=described.labels
                )
                for values, count in sorted(self._counts[described.name].items()):
                    family.add_metric(values, count)  # type: ignore[attr-defined]  # not in Metric
                yield family
        for described, histogram in ((DELAY, self._delay), (EVENT_LOOP_LAG, self._event_loop_lag)):
            alone = HistogramMetricFamily(described.name, described.meaning)
            alone.add_metric((), histogram.buckets, histogram.total)
            yield alone
        durations = HistogramMetricFamily(
            LOOKUP_DURATION.name, LOOKUP_DURATION.meaning, labels=LOOKUP_DURATION.labels
        )
        for outcome, histogram in sorted(self._lookup_durations.items()):
            durations.add_metric((outcome,), histogram.buckets, histogram.total)
        yield durations
        for described, read in self._gauges:
            gauge = GaugeMetricFamily(described.name, described.meaning, labels=described.labels)
            samples: Counter[tuple[str, ...]] = Counter()
            for values, value in read():
                samples[values] += value  # type: ignore[assignment]  # a Counter sums floats too
            for values, value in samples.items():
                gauge.add_metric(values, value)
            yield gauge
