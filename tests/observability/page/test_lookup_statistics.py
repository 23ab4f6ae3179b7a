"""What the page knows of each organisation's lookup."""

import logging

import pytest

from streams.lookup.breaker import State
from streams.messages.decode import Cause, LookupOutcome, Outcome
from streams.observability.page.lookup_statistics import INTERVAL, INTERVALS, LookupStatistics
from tests.timing import Clock

FOUND = LookupOutcome(Outcome.EXISTING)
FAILED = LookupOutcome(Outcome.ERROR, Cause.TIMEOUT)
DOWN = "is down, and is asked only to see whether it is back; its supporters get two buttons"


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
    return Clock(1_000.0)


@pytest.fixture
def statistics(clock: Clock) -> LookupStatistics:
    return LookupStatistics(Following(), clock)


def test_the_share_is_of_the_questions_asked(statistics: LookupStatistics) -> None:
    """Three answers and a failure: three quarters; an organisation that was not asked has none."""
    for outcome in (FOUND, FOUND, FAILED, FOUND):
        statistics.answered(2, outcome, 0.004)
    assert statistics.last_minute(2).share == 0.75
    assert statistics.last_minute(2).asked == 4
    assert statistics.last_minute(1).share is None
    assert statistics.last_minute(1).median is None


def test_what_is_wrong_with_the_last_answer_is_known(statistics: LookupStatistics) -> None:
    """Until the next answer, and only of answers that cannot be understood."""
    assert statistics.wrong_answer(2) is None
    for outcome, expected in (
        (LookupOutcome(Outcome.ERROR, Cause.WRONG_DATA, detail="no known field"), "no known field"),
        (LookupOutcome(Outcome.ERROR, Cause.NO_DATA, detail="empty"), None),
        (LookupOutcome(Outcome.ERROR, Cause.WRONG_DATA, detail="no known field"), "no known field"),
        (FOUND, None),
    ):
        statistics.answered(2, outcome, 0.004)
        assert statistics.wrong_answer(2) == expected


def test_a_minute_is_forgotten_interval_by_interval(statistics: LookupStatistics, clock: Clock) -> None:
    """What is older than the last six intervals no longer counts, also when nothing came after it."""
    statistics.answered(2, FAILED, 2.0)
    clock.now += INTERVAL * (INTERVALS - 1)
    statistics.answered(2, FOUND, 0.004)
    assert statistics.last_minute(2).asked == 2
    clock.now += INTERVAL
    assert (statistics.last_minute(2).asked, statistics.last_minute(2).share) == (1, 1.0)
    clock.now += INTERVAL * INTERVALS
    assert statistics.last_minute(2).asked == 0


def test_latencies_are_told_apart(statistics: LookupStatistics) -> None:
    """The median is that of most, and the slow ones show in the 95th percentile."""
    for _ in range(90):
        statistics.answered(2, FOUND, 0.004)
    for _ in range(10):
        statistics.answered(2, FOUND, 1.7)
    minute = statistics.last_minute(2)
    assert minute.median == pytest.approx(0.004, abs=0.001)
    assert minute.p95 == pytest.approx(1.5, abs=0.5)


def test_what_took_longer_than_all_bounds_counts_as_the_last_bound(statistics: LookupStatistics) -> None:
    """No duration above 30 s is shown; no exchanges have no duration at all."""
    assert statistics.last_minute(2).p95 is None
    for _ in range(3):
        statistics.answered(2, FAILED, 99.0)
    assert (statistics.last_minute(2).median, statistics.last_minute(2).p95) == (30.0, 30.0)


def test_a_question_has_a_last_time(statistics: LookupStatistics, clock: Clock) -> None:
    """How long ago the last question ended, whatever came of it; None before the first one."""
    assert statistics.asked_ago(2) is None
    statistics.answered(2, FAILED, 2.0)
    clock.now += 130
    assert statistics.asked_ago(2) == 130


def test_down_is_since_the_breaker_left_closed(statistics: LookupStatistics, clock: Clock) -> None:
    """Probes that fail in between do not start the time anew; a closed breaker ends it."""
    statistics.state_changed(2, State.CLOSED)
    assert statistics.down_for(2) is None
    statistics.state_changed(2, State.OPEN)
    clock.now += 30
    statistics.state_changed(2, State.HALF_OPEN)
    statistics.state_changed(2, State.OPEN)
    clock.now += 150
    assert statistics.down_for(2) == 180
    statistics.state_changed(2, State.CLOSED)
    assert statistics.down_for(2) is None


def test_the_log_says_once_that_a_lookup_is_down_and_once_that_it_is_back(
    statistics: LookupStatistics, caplog: pytest.LogCaptureFixture
) -> None:
    """Probes that fail in between say nothing; the default lookup is called so."""
    caplog.set_level(logging.INFO)
    for state in (State.CLOSED, State.OPEN, State.HALF_OPEN, State.OPEN, State.CLOSED):
        statistics.state_changed(310, state)
    statistics.state_changed(None, State.OPEN)
    said = [(each.levelname, each.event, each.getMessage()) for each in caplog.records]  # type: ignore[attr-defined]  # extra
    assert said == [
        (
            "WARNING",
            "lookup_down",
            f"the lookup of organisation 310 {DOWN}",
        ),
        ("INFO", "lookup_back", "the lookup of organisation 310 is asked again"),
        (
            "WARNING",
            "lookup_down",
            f"the default lookup {DOWN}",
        ),
    ]


def test_the_metrics_are_told_all_the_same(clock: Clock) -> None:
    """Whatever it is told it passes on."""
    following = Following()
    statistics = LookupStatistics(following, clock)
    statistics.answered(2, FOUND, 0.5)
    statistics.state_changed(None, State.OPEN)
    assert following.told == [(2, FOUND, 0.5), (None, State.OPEN)]


def test_organisations_without_a_lookup_are_forgotten(statistics: LookupStatistics) -> None:
    """A thousand made-up ids leave nothing behind when their lookups have gone."""
    for org_id in range(1_000):
        statistics.answered(org_id, FOUND, 0.004)
    statistics.forget_all_but([7])
    assert len(statistics._organisations) == 1
    assert statistics.last_minute(7).asked == 1
