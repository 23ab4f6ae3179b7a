"""One worker on one line, from what its page is sent."""

from typing import Any

import pytest

from streams.lookup.breaker import State
from streams.messages.decode import Cause, LookupOutcome, Outcome
from streams.observability.metric_catalogue import DEAD_LETTERS, EMAILS
from streams.observability.page.overview import ROWS
from streams.observability.worker_summary import (
    RATE_SECONDS,
    Figures,
    LookupSummary,
    WorkerSummary,
    summary_of,
    totals_of,
)
from tests.observability.page.test_overview import FakeLookup, FakeWorker, lane


def summary(worker: FakeWorker) -> WorkerSummary:
    return summary_of(worker.described(), "h:1")


@pytest.fixture
def worker() -> FakeWorker:
    made = FakeWorker()
    made.lanes.append(lane(0))
    made.overview.note()
    return made


def test_rates_are_those_of_the_last_seconds(worker: FakeWorker) -> None:
    """Two kinds of letters a second each; what was before does not count."""
    worker.totals[EMAILS.name]["two_button", "no_lookup"] = 1_000
    worker.second()
    for _ in range(RATE_SECONDS):
        worker.totals[EMAILS.name]["two_button", "lookup_failed"] += 3
        worker.totals[EMAILS.name]["one_button", "known_subscribed"] += 2
        worker.totals[EMAILS.name]["one_button", "lookup_subscribed"] += 1
        worker.second()
    found = summary(worker)
    assert (found.one_button_per_second, found.two_button_per_second) == (3.0, 3.0)
    assert found.lookups_failed == 3 * RATE_SECONDS


def test_failed_lookups_are_those_of_a_minute_and_dead_letters_those_of_all_points(
    worker: FakeWorker,
) -> None:
    """A minute later the failures are forgotten, and the dead letters are not."""
    worker.totals[EMAILS.name]["two_button", "lookup_failed"] = 5
    worker.totals[DEAD_LETTERS.name]["actions", "not_json"] = 2
    worker.second()
    assert (summary(worker).lookups_failed, summary(worker).dead_letters) == (5, 2)
    for _ in range(60):
        worker.second()
    assert (summary(worker).lookups_failed, summary(worker).dead_letters) == (0, 2)


def test_what_is_not_known_is_none(worker: FakeWorker) -> None:
    """A rate needs two points; the lag is not known while Kafka does not answer."""
    assert summary(worker).actions_per_second is None
    worker.silent = True
    worker.second()
    found = summary(worker)
    assert (found.actions_per_second, found.waiting, found.oldest_age_seconds) == (0.0, None, None)


def test_the_first_problem_is_named(worker: FakeWorker) -> None:
    """Why it is to be restarted before why it is not ready."""
    assert (summary(worker).ready, summary(worker).problem) == (True, None)
    worker.unready.append("waiting for Kafka")
    assert (summary(worker).ready, summary(worker).problem) == (False, "waiting for Kafka")
    worker.dead.append("agent confirm has ended")
    assert (summary(worker).ready, summary(worker).problem) == (False, "agent confirm has ended")


def test_partitions_of_actions_are_counted_beyond_the_rows_that_the_page_shows(worker: FakeWorker) -> None:
    """All of them, and not those of re-keyed actions besides."""
    worker.lanes.extend(lane(number) for number in range(1, ROWS + 10))
    worker.rekeyed.extend(lane(number) for number in range(ROWS + 10))
    assert summary(worker).partitions == ROWS + 10


def test_lookups_that_are_down_are_named(worker: FakeWorker) -> None:
    """As the page names them, and only those."""
    worker.organisations += [FakeLookup(2, State.OPEN), FakeLookup(3)]
    worker.statistics.state_changed(2, State.OPEN)
    assert summary(worker).lookups_down == ["Second (2)"]


def test_what_is_known_of_each_lookup(worker: FakeWorker) -> None:
    """Since when its breaker is not closed, when it is tried again, and the questions of the last minute."""
    worker.organisations += [FakeLookup(2, State.OPEN), FakeLookup(3)]
    worker.statistics.state_changed(2, State.OPEN)
    worker.now += 7
    for outcome in (LookupOutcome(Outcome.EXISTING), *[LookupOutcome(Outcome.ERROR, Cause.TIMEOUT)] * 2):
        worker.statistics.answered(2, outcome, 0.1)
    (second, third), more = summary(worker).lookups, summary(worker).lookups_more
    assert second == LookupSummary(
        organisation=2,
        label="Second (2)",
        state=State.OPEN,
        down_seconds=7.0,
        next_probe_seconds=5.0,
        asked=3,
        failed=2,
    )
    assert (third.state, third.down_seconds, third.next_probe_seconds, third.asked, more) == (
        State.CLOSED,
        None,
        None,
        0,
        0,
    )


def test_an_older_worker_s_document_is_read(worker: FakeWorker) -> None:
    """It does not tell when it probes; while versions are mixed it is no silent worker."""
    worker.organisations.append(FakeLookup(2, State.OPEN))
    older = worker.described()
    del older["lookups"]["rows"][0]["probe_due_in"]
    (lookup,) = summary_of(older, "h:1").lookups
    assert (lookup.state, lookup.next_probe_seconds) == (State.OPEN, None)


def test_a_text_of_another_process_steers_no_terminal(worker: FakeWorker) -> None:
    """What cannot be printed becomes a question mark."""
    worker.unready.append("\x1b[2J gone\n")
    assert summary(worker).problem == "?[2J gone?"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("points", 7),
        ("letters", 7),
        ("lookups", {"rows": [{}]}),
        ("assigned", None),
        ("problems", [7]),
        ("worker", None),
        ("time", "now"),
    ],
)
def test_another_document_is_refused(worker: FakeWorker, name: str, wrong: object) -> None:
    """No figure is guessed where one is missing or of another form."""
    document: dict[str, Any] = worker.described()
    for another in ({**document, name: wrong}, {key: each for key, each in document.items() if key != name}):
        with pytest.raises((LookupError, TypeError, ValueError, AttributeError)):
            summary_of(another, "h:1")


def test_a_total_is_unknown_where_one_figure_is() -> None:
    """The oldest action of all is the oldest that is known; without workers nothing is known."""
    one = WorkerSummary(worker="a", address=None, waiting=3, partitions=2, oldest_age_seconds=4.0)
    two = WorkerSummary(worker="b", address=None, waiting=None, partitions=1)
    assert totals_of([one, two]) == Figures(partitions=3, oldest_age_seconds=4.0)
    assert totals_of([]) == Figures()
