"""What the page knows of each organisation's lookup."""

from __future__ import annotations

import pytest

from streams.lookup.breaker import State
from streams.messages.decode import Cause, LookupOutcome, Outcome
from streams.observability.page.lookup_statistics import SLICE, SLICES, LookupWatch

FOUND = LookupOutcome(Outcome.EXISTING)
FAILED = LookupOutcome(Outcome.ERROR, Cause.TIMEOUT)


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Following:
    """Who else is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def answered(self, *what: object) -> None:
        self.told.append(what)

    def state_changed(self, *what: object) -> None:
        self.told.append(what)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> LookupWatch:
    return LookupWatch(Following(), clock)


def test_the_share_is_of_the_questions_asked(watch: LookupWatch) -> None:
    """Three answers and a failure: three quarters; an organisation that was not asked has none."""
    for outcome in (FOUND, FOUND, FAILED, FOUND):
        watch.answered(2, outcome, 0.004)
    assert watch.recent(2).share == 0.75
    assert watch.recent(2).asked == 4
    assert watch.recent(1).share is None
    assert watch.recent(1).median is None


def test_a_minute_is_forgotten_slice_by_slice(watch: LookupWatch, clock: Clock) -> None:
    """What is older than the last six slices counts no more, also when nothing came after it."""
    watch.answered(2, FAILED, 2.0)
    clock.now += SLICE * (SLICES - 1)
    watch.answered(2, FOUND, 0.004)
    assert watch.recent(2).asked == 2
    clock.now += SLICE
    assert (watch.recent(2).asked, watch.recent(2).share) == (1, 1.0)
    clock.now += SLICE * SLICES
    assert watch.recent(2).asked == 0


def test_latencies_are_told_apart(watch: LookupWatch) -> None:
    """The median is that of most, and the slow ones show in the 95th percentile."""
    for _ in range(90):
        watch.answered(2, FOUND, 0.004)
    for _ in range(10):
        watch.answered(2, FOUND, 1.7)
    recent = watch.recent(2)
    assert recent.median == pytest.approx(0.004, abs=0.001)
    assert recent.slow == pytest.approx(1.5, abs=0.5)


def test_what_took_longer_than_all_bounds_counts_as_the_last_bound(watch: LookupWatch) -> None:
    """No duration above 30 s is shown; no exchanges have no duration at all."""
    assert watch.recent(2).slow is None
    for _ in range(3):
        watch.answered(2, FAILED, 99.0)
    assert (watch.recent(2).median, watch.recent(2).slow) == (30.0, 30.0)


def test_down_is_since_the_breaker_left_closed(watch: LookupWatch, clock: Clock) -> None:
    """Probes that fail in between do not start the time anew; a closed breaker ends it."""
    watch.state_changed(2, State.CLOSED)
    assert watch.down_for(2) is None
    watch.state_changed(2, State.OPEN)
    clock.now += 30
    watch.state_changed(2, State.HALF_OPEN)
    watch.state_changed(2, State.OPEN)
    clock.now += 150
    assert watch.down_for(2) == 180
    watch.state_changed(2, State.CLOSED)
    assert watch.down_for(2) is None


def test_the_metrics_are_told_all_the_same(clock: Clock) -> None:
    """Whatever the watch is told it passes on."""
    following = Following()
    watch = LookupWatch(following, clock)
    watch.answered(2, FOUND, 0.5)
    watch.state_changed(None, State.OPEN)
    assert following.told == [(2, FOUND, 0.5), (None, State.OPEN)]


def test_organisations_without_a_desk_are_forgotten(watch: LookupWatch) -> None:
    """A thousand made-up ids leave nothing behind when their desks have gone."""
    for org_id in range(1_000):
        watch.answered(org_id, FOUND, 0.004)
    watch.keep(iter([7]))
    assert len(watch._records) == 1
    assert watch.recent(7).asked == 1
