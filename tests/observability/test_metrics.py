"""The metric catalogue, as a scrape shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streams.actions.decision import LETTERS, decide
from streams.actions.outcomes import DeadLettered, Emailed, Ignored, Rekeyed
from streams.delivery.results import Processed, Release, Result
from streams.messages.decode import Cause, ErrorClass, LookupOutcome, Outcome, Reason
from streams.observability.metric_catalogue import (
    BREAKER,
    DEAD_LETTERS,
    EMAILS,
    IN_FLIGHT,
    LOOKUPS,
    READY,
    STATUSES,
)
from streams.observability.metrics import OTHER, Histogram, Metrics
from streams.statuses.store_owner import SetAside
from tests.observability.fakes import FakeLane

NOW = 1_764_000_000.0
Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class FakeRecord:
    timestamp: int = int(NOW * 1000)


def entry(outcome: Hashable, seconds_ago: float = 0.0) -> Processed:
    return Processed(FakeRecord(round((NOW - seconds_ago) * 1000)), Result(None, outcome))


def email(
    reason: str, outcome: str = "", cause: str = "", org_id: int = 310, variant: str = "two_button"
) -> Processed:
    return entry(Emailed(variant, reason, outcome, cause, org_id))


def metrics(*named: int) -> Metrics:
    return Metrics("actions", named=lambda org_id: org_id in named, now=lambda: NOW)


def scrape(of: Metrics) -> dict[tuple[str, Labels], float]:
    """Every sample by name and labels; two samples with the same ones are a broken exposition."""
    samples: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families(generate_latest(of.registry).decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples, f"{key} twice"
            samples[key] = sample.value
    return samples


def value(of: Metrics, name: str, **labels: str) -> float | None:
    return scrape(of).get((name, frozenset(labels.items())))


def test_what_is_committed_is_counted_by_kind() -> None:
    """Emails by letter, ignored ones, moved ones and dead letters each have their counter."""
    shown = metrics()
    shown.committed(
        0,
        [
            email("known_subscribed", variant="one_button"),
            email("no_lookup"),
            email("no_lookup"),
            entry(Ignored("stage")),
            entry(Ignored("tombstone")),
            entry(Rekeyed()),
            entry(DeadLettered("not_json")),
        ],
    )
    name = "confirmation_emails_total"
    assert value(shown, name, variant="one_button", reason="known_subscribed") == 1
    assert value(shown, name, variant="two_button", reason="no_lookup") == 2
    assert value(shown, "confirmation_actions_ignored_total", why="stage") == 1
    assert value(shown, "confirmation_actions_ignored_total", why="tombstone") == 1
    assert value(shown, "confirmation_actions_rekeyed_total") == 1
    assert value(shown, "confirmation_dead_letters_total", topic="actions", error_class="not_json") == 1


def test_lookups_are_counted_where_there_was_one() -> None:
    """An outcome counts for its organisation, with its cause; a known status counts no lookup."""
    shown = metrics(310)
    shown.committed(
        0,
        [
            email("lookup_subscribed", "existing"),
            email("lookup_failed", "error", "timeout"),
            email("lookup_failed", "error", "timeout", org_id=5),
            email("lookup_failed", "error", "timeout", org_id=6),
            email("known_not_subscribed"),
            email("no_lookup"),
        ],
    )
    name = "confirmation_lookups_total"
    assert value(shown, name, organisation="310", outcome="existing", cause="") == 1
    assert value(shown, name, organisation="310", outcome="error", cause="timeout") == 1
    assert value(shown, name, organisation=OTHER, outcome="error", cause="timeout") == 2
    assert shown.total(LOOKUPS) == 4


def test_counters_are_there_from_the_start() -> None:
    """A new worker shows 0 for every letter and dead letter: the first one is an increase, not a birth."""
    samples = scrape(metrics())
    for variant, reason in LETTERS:
        key = ("confirmation_emails_total", frozenset({("variant", variant), ("reason", reason)}))
        assert samples[key] == 0
    for error_class in ErrorClass:
        for topic in ("actions", "supporter-status"):
            labels = frozenset({("topic", topic), ("error_class", str(error_class))})
            assert samples["confirmation_dead_letters_total", labels] == 0
    assert samples["confirmation_commit_metadata_refused_total", frozenset()] == 0
    assert samples["confirmation_actions_rekeyed_total", frozenset()] == 0


def test_the_delay_is_that_of_emails() -> None:
    """From the record's timestamp to the commit; a producer whose clock is ahead counts as no delay."""
    shown = metrics()
    shown.committed(
        0,
        [
            entry(Emailed("two_button", "no_lookup", "", "", 1), seconds_ago=2.0),
            entry(Emailed("two_button", "no_lookup", "", "", 1), seconds_ago=-500.0),
            entry(Ignored("stage"), seconds_ago=9_999),
            entry(DeadLettered("not_json"), seconds_ago=9_999),
        ],
    )
    name = "confirmation_delay_seconds"
    assert value(shown, f"{name}_count") == 2
    assert value(shown, f"{name}_sum") == pytest.approx(2.0)
    assert value(shown, f"{name}_bucket", le="0.005") == 1
    assert value(shown, f"{name}_bucket", le="1.0") == 1
    assert value(shown, f"{name}_bucket", le="2.5") == 2
    assert value(shown, f"{name}_bucket", le="+Inf") == 2


@given(st.lists(st.floats(-10, 10_000)))
def test_a_histogram_counts_each_duration_at_or_below_its_bounds(durations: list[float]) -> None:
    """A bucket holds what is at most its bound, the last one all; the sum leaves out what is negative."""
    histogram = Histogram()
    histogram.observe(durations)
    for name, count in histogram.buckets:
        assert count == sum(duration <= float(name) for duration in durations)
    assert histogram.total == pytest.approx(sum(duration for duration in durations if duration > 0))


def test_exchanges_with_a_lookup_service_are_timed_by_outcome() -> None:
    """Each outcome has its own durations."""
    shown = metrics()
    shown.answered(310, LookupOutcome(Outcome.EXISTING), 0.02)
    shown.answered(None, LookupOutcome(Outcome.ERROR, Cause.TIMEOUT), 2.0)
    name = "confirmation_lookup_duration_seconds_count"
    assert value(shown, name, outcome="existing") == 1
    assert value(shown, name, outcome="error") == 1


def test_failures_of_transactions_are_counted_by_class() -> None:
    """So are refused metadata, status rows, and the status topic's dead letters."""
    shown = metrics()
    shown.failed(0, "ProducerFenced")
    shown.failed(1, "ProducerFenced")
    shown.metadata_refused(0)
    shown.ingested("supporter-status", 3, 0, ["key_mismatch"])
    assert value(shown, "confirmation_transactions_failed_total", failure="ProducerFenced") == 2
    assert value(shown, "confirmation_commit_metadata_refused_total") == 1
    assert value(shown, "confirmation_statuses_total", result="applied") == 3
    labels = {"topic": "supporter-status", "error_class": "key_mismatch"}
    assert value(shown, "confirmation_dead_letters_total", **labels) == 1


def test_transactions_are_counted() -> None:
    """Each that is committed counts once, whatever was in it."""
    shown = metrics()
    assert value(shown, "confirmation_transactions_committed_total") == 0
    shown.committed(0, [email("no_lookup"), email("no_lookup")])
    shown.committed(0, [])
    assert value(shown, "confirmation_transactions_committed_total") == 2


def test_what_became_of_actions_adds_up() -> None:
    """Taken = emails + ignored + dead letters + re-keyed + released + in flight; statuses do not count."""
    shown = metrics()
    in_flight = [0]
    shown.gauge(IN_FLIGHT, lambda: [((), in_flight[0])])
    shown.taken(0, 9)
    in_flight[0] = 9
    assert unaccounted(shown) == 0
    entries = [email("no_lookup"), entry(Ignored("stage")), entry(DeadLettered("not_json"))]
    shown.committed(0, [*entries, entry(Rekeyed())])
    shown.taken(1, 1)  # the re-keyed one, in its new partition
    in_flight[0] = 6
    assert unaccounted(shown) == 0
    shown.released(0, Release.SETTLED_BEFORE, 2)
    shown.released(0, Release.HANDED_OVER, 3)
    in_flight[0] = 1
    shown.ingested("supporter-status", 0, 0, ["key_mismatch"])
    assert unaccounted(shown) == 0
    in_flight[0] = 0
    assert unaccounted(shown) == 1


def unaccounted(of: Metrics) -> float:
    """Sum a scrape as the recording rule does."""
    sums: Counter[str] = Counter()
    for (name, labels), found in scrape(of).items():
        if name != "confirmation_statuses_total" or ("result", "dead_letter") in labels:
            sums[name] += found  # type: ignore[assignment]  # a Counter sums floats too
    return (
        sums["confirmation_actions_taken_total"]
        - sums["confirmation_emails_total"]
        - sums["confirmation_actions_ignored_total"]
        - (sums["confirmation_dead_letters_total"] - sums["confirmation_statuses_total"])
        - sums["confirmation_actions_rekeyed_total"]
        - sums["confirmation_actions_released_total"]
        - sums["confirmation_actions_in_flight"]
    )


def test_gauges_are_read_at_the_scrape() -> None:
    """A gauge shows what is so at the moment of the scrape."""
    shown = metrics()
    ready = [False]
    shown.gauge(READY, lambda: [((), ready[0])])
    assert value(shown, "confirmation_ready") == 0
    ready[0] = True
    assert value(shown, "confirmation_ready") == 1


def test_breakers_of_organisations_without_an_entry_are_one_sample() -> None:
    """Lookups that share the label "other" are summed: a scrape with a sample twice would be thrown away."""
    shown = metrics(310)
    lookups = [(310, "open"), (5, "closed"), (6, "closed"), (7, "open"), (None, "closed")]
    shown.gauge(BREAKER, lambda: [((shown.label(org_id), state), 1) for org_id, state in lookups])
    name = "confirmation_lookup_breaker_state"
    assert value(shown, name, organisation="310", state="open") == 1
    assert value(shown, name, organisation=OTHER, state="closed") == 3
    assert value(shown, name, organisation=OTHER, state="open") == 1


def test_lanes_are_shown_by_topic_and_partition() -> None:
    """Each lane has what it holds, what waits, and for how long it has been still."""
    shown = metrics()
    lanes: Any = [
        ("actions", [FakeLane(0, uncommitted=5, awaiting_lookup=2, stalled_for=0.5), FakeLane(1)]),
        ("moved", [FakeLane(0, uncommitted=1, awaiting_lookup=1, stalled_for=9)]),
    ]
    shown.lanes(lambda: lanes)
    for topic, partition, figures in (
        ("actions", "0", [5, 2, 0.5]),
        ("actions", "1", [0, 0, 0]),
        ("moved", "0", [1, 1, 9]),
    ):
        assert [
            value(shown, f"confirmation_lane_{name}", topic=topic, partition=partition)
            for name in ("unsettled_actions", "pending_lookups", "still_seconds")
        ] == figures


def test_totals_can_be_asked_for_by_any_label() -> None:
    """A total sums over the labels that are not given."""
    shown = metrics()
    shown.committed(0, [email("no_lookup"), email("known_subscribed", variant="one_button")])
    assert shown.total(EMAILS) == 2
    assert shown.total(EMAILS, variant="one_button") == 1
    assert shown.total(EMAILS, variant="one_button", reason="no_lookup") == 0
    assert shown.total(STATUSES) == 0


def test_two_workers_in_one_process_do_not_share_counters() -> None:
    """Each has a registry of its own."""
    one, other = metrics(), metrics()
    one.ingested("supporter-status", 1, 0, [])
    assert value(other, "confirmation_statuses_total", result="applied") == 0


def lookups() -> st.SearchStrategy[LookupOutcome | None]:
    failures = st.sampled_from(Cause).map(lambda cause: LookupOutcome(Outcome.ERROR, cause))
    answers = st.sampled_from([LookupOutcome(Outcome.EXISTING), LookupOutcome(Outcome.NON_EXISTING)])
    return st.none() | failures | answers


@given(st.lists(st.tuples(st.integers(), st.sampled_from([True, False, None]), lookups()), max_size=40))
def test_labels_are_bounded(given_actions: Iterable[tuple[int, bool | None, LookupOutcome | None]]) -> None:
    """Whatever organisations, letters and outcomes come, label values stay within their closed sets."""
    shown = metrics(310, 311)
    for org_id, subscribed, lookup in given_actions:
        variant, reason = decide(subscribed, lookup)
        asked = ("", "") if lookup is None else (lookup.outcome, lookup.cause or "")
        shown.committed(0, [entry(Emailed(variant, reason, *asked, org_id))])
    allowed = {
        "organisation": {"310", "311", OTHER},
        "outcome": {"existing", "non_existing", "error"},
        "cause": {"", *Cause},
        "reason": {*Reason, *SetAside},
        "variant": {"one_button", "two_button"},
        "error_class": set(ErrorClass),
        "topic": {"actions", "supporter-status"},
        "why": {"stage", "event", "no_consent", "tombstone", "duplicate", *Release},
        "result": {"applied", "outdated", "dead_letter"},
        "generation": {"0", "1", "2"},  # of Python's garbage collector
    }
    for _, labels in scrape(shown):
        for label, found in labels:
            assert label == "le" or found in allowed[label]


def test_counting_is_cheap() -> None:
    """A transaction's worth is counted by kinds, not one by one: the label of each kind is made once."""
    asked: list[int] = []

    def named(org_id: int) -> bool:
        asked.append(org_id)
        return True

    shown = Metrics("actions", named=named, now=lambda: NOW)
    shown.committed(0, [email("lookup_failed", "error", "timeout")] * 1_000)
    assert asked == [310]
    assert shown.total(DEAD_LETTERS) == 0
    assert shown.total(EMAILS) == 1_000
