"""What the page shows, from parts of a worker that a test can set."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.actions.decision import LETTERS
from streams.kafka.members import Published
from streams.lookup.breaker import State
from streams.messages.decode import Cause, LookupOutcome, Outcome
from streams.observability.lag import PartitionLags
from streams.observability.metric_catalogue import DEAD_LETTERS, EMAILS, IGNORED, Described
from streams.observability.page import overview
from streams.observability.page.headline import DOWN_IS_KNOWN_FOR
from streams.observability.page.lookup_statistics import LookupStatistics
from streams.observability.page.overview import ROWS, Overview, WorkerParts
from streams.observability.page.recent_errors import RecentErrors
from tests.observability.fakes import FakeLane, FakeLanes

NOW = 1_800_000_000.0


def lane(partition: int, **shown: Any) -> FakeLane:
    """A lane that has committed all that there is."""
    return FakeLane(partition, committed=100, **shown)


class FakeLookup:
    """An organisation's lookup as the page sees it."""

    def __init__(self, org_id: int | None, state: State = State.CLOSED) -> None:
        self.org_id = org_id
        self.state = state
        self.probe_due_in: float | None = None if state is State.CLOSED else 5.0


class Silent:
    """The metrics, which are not at stake here."""

    def answered(self, *_: object) -> None: ...

    def state_changed(self, *_: object) -> None: ...


class FakeWorker:
    """All parts of a worker that the page looks at."""

    def __init__(self) -> None:
        self.now = NOW
        self.totals: dict[str, Counter[tuple[str, ...]]] = {
            described.name: Counter() for described in (EMAILS, IGNORED, DEAD_LETTERS)
        }
        self.lanes, self.rekeyed = FakeLanes(), FakeLanes()
        self.organisations: list[FakeLookup] = []
        self.ends: dict[tuple[str, int], tuple[int, int] | None] = {}  # the others are read to the end
        self.silent = False  # Kafka does not answer
        self.dead: list[str] = []
        self.unready: list[str] = []
        self.decision: str | None = None
        self.statistics = LookupStatistics(Silent(), lambda: self.now)
        self.errors = RecentErrors(lambda: self.now)
        lags = PartitionLags(self.both, self.fetched, lambda: self.now, self.kafka_answers)
        self.overview = Overview(
            WorkerParts(
                published=Published("worker-0", "h:1", "r"),
                version="1",
                metrics=self,  # type: ignore[arg-type]  # here and below: fakes
                health=self,  # type: ignore[arg-type]
                decision=lambda: self.decision,
                lanes=self.both,
                fetch_position=self.fetched,
                lags=lags,
                lookups=self.organisations,
                lookup_statistics=self.statistics,
                organisation_name={2: "Second"}.get,
                recent_errors=self.errors,
            ),
            now=lambda: self.now,
        )

    def both(self) -> list[tuple[str, FakeLanes]]:
        return [("actions", self.lanes), ("rekeyed", self.rekeyed)]

    def fetched(self, topic: str, partition: int) -> tuple[int, int] | None:
        return self.ends.get((topic, partition), (100, 100))

    def counts(self, described: Described) -> Counter[tuple[str, ...]]:
        return self.totals[described.name]

    def kafka_answers(self) -> bool:
        return not self.silent

    def not_alive(self) -> list[str]:
        return self.dead

    def not_ready(self) -> list[str]:
        return self.unready

    def described(self) -> dict[str, Any]:
        """Return what the page gets, as it gets it."""
        return orjson.loads(orjson.dumps(self.overview.describe()))  # type: ignore[no-any-return]  # an object

    def second(self) -> None:
        self.now += 1
        self.overview.note()


@pytest.fixture
def worker() -> FakeWorker:
    made = FakeWorker()
    made.overview.note()
    return made


def test_every_letter_has_its_place_and_colour_in_the_plot() -> None:
    """A new reason is not left out of the page's sums: the plot stacks each letter, in its own colour."""
    static = Path(overview.__file__).parent / "static"
    found = re.search(r"STACK = \[([\d, ]+)\]", (static / "plot.js").read_text())
    assert found is not None
    assert sorted(map(int, found[1].split(","))) == list(range(len(LETTERS)))
    style = (static / "page.css").read_text()
    assert all(f".f{number} {{ fill: " in style for number in range(len(LETTERS)))


def test_a_point_counts_each_letter(worker: FakeWorker) -> None:
    """Actions in, then the letters in the order of the list that comes with them, ignored, dead letters."""
    worker.lanes.append(lane(0))
    worker.ends["actions", 0] = (100, 100)
    worker.second()
    worker.ends["actions", 0] = (112, 112)
    worker.totals[EMAILS.name]["two_button", "lookup_failed"] = 7
    worker.totals[EMAILS.name]["one_button", "known_subscribed"] = 3
    worker.totals[IGNORED.name]["stage",] = 1
    worker.totals[DEAD_LETTERS.name]["actions", "not_json"] = 1
    worker.second()
    described = worker.described()
    names = ["moment", "actions", *(reason for _, reason in described["letters"]), "ignored", "dead"]
    assert len(described["points"]) == 3
    point = dict(zip(names, described["points"][-1], strict=True))
    assert point.pop("moment") == worker.now
    assert {name: count for name, count in point.items() if count} == {
        "actions": 12,
        "lookup_failed": 7,
        "known_subscribed": 3,
        "ignored": 1,
        "dead": 1,
    }


def test_lag_is_to_the_committed_offset_and_a_marker_is_none(worker: FakeWorker) -> None:
    """What lies behind the last record of an idle, wholly read partition is a marker that nobody commits."""
    worker.lanes += [lane(0), lane(1), lane(2, has_work=True), lane(3)]
    worker.ends |= {("actions", 0): (101, 101), ("actions", 1): (140, 100), ("actions", 2): (101, 101)}
    worker.ends["actions", 3] = None
    rows = worker.described()["partitions"]["rows"]
    assert [row["lag"] for row in rows] == [0, 40, 1, None]


def test_what_kafka_has_not_told_is_unknown_and_no_good_news(worker: FakeWorker) -> None:
    """One partition whose end is not known: what waits in all is not known, and the headline says so."""
    worker.lanes += [lane(0), lane(1)]
    worker.second()
    assert worker.described()["waiting"] == 0
    worker.ends["actions", 1] = None
    worker.second()
    described = worker.described()
    assert described["waiting"] is None
    assert described["headline"]["urgency"] == "degraded"
    assert (
        "Kafka has not told yet how many actions wait in 1 of 2 partitions." in described["headline"]["text"]
    )


def test_while_kafka_does_not_answer_the_lag_is_unknown(worker: FakeWorker) -> None:
    """The ends of the logs are those of before: they are not shown as those of now."""
    worker.lanes.append(lane(0))
    worker.silent = True
    worker.unready = ["Kafka does not answer"]
    described = worker.described()
    assert described["waiting"] is None
    assert described["partitions"]["rows"][0]["lag"] is None


@pytest.mark.parametrize(("problems", "waiting"), [(["no partitions assigned yet"], None), ([], 0)])
def test_without_partitions_nothing_waits_once_that_is_certain(
    worker: FakeWorker, problems: list[str], waiting: int | None
) -> None:
    """A spare worker knows that nothing waits here; before its first assignment it does not."""
    worker.unready = problems
    assert worker.described()["waiting"] == waiting


def test_the_oldest_waiting_action_is_that_of_all_partitions(worker: FakeWorker) -> None:
    """Its age in seconds; a clock ahead of ours makes nobody younger than now."""
    worker.lanes += [
        lane(0, oldest_timestamp_ms=int((NOW - 5) * 1000), has_work=True),
        lane(1, oldest_timestamp_ms=int((NOW + 9) * 1000), has_work=True),
        lane(2),
    ]
    described = worker.described()
    assert described["oldest_age"] == pytest.approx(5)
    assert [row["oldest_age"] for row in described["partitions"]["rows"]] == [pytest.approx(5), 0.0, None]


def test_partitions_in_trouble_come_first(worker: FakeWorker) -> None:
    """A lane that stands still, cannot commit or cannot open is above those at work, with its offset."""
    worker.lanes += [lane(0), lane(1, halted="too many dead letters"), lane(2, commit_failure="KafkaError")]
    worker.lanes.opening = {5: "opening"}
    described = worker.described()
    rows = described["partitions"]["rows"]
    assert [(row["partition"], row["committed"]) for row in rows] == [(1, 100), (2, 100), (5, None), (0, 100)]
    assert described["headline"]["urgency"] == "act"
    assert described["headline"]["text"] == "Partition 1 of actions stands still: too many dead letters."


def test_tables_are_bounded(worker: FakeWorker) -> None:
    """Hundreds of partitions and organisations are a table of some rows, and a count of the rest."""
    worker.lanes += [lane(number) for number in range(100)]
    worker.organisations += [FakeLookup(number) for number in range(1, 501)]
    described = worker.described()
    assert len(described["partitions"]["rows"]) == len(described["lookups"]["rows"]) == ROWS
    assert described["partitions"]["more"] == 100 - ROWS
    assert described["lookups"]["more"] == 500 - ROWS
    del described["points"]  # as many as there are seconds in the history
    assert len(orjson.dumps(described)) < 16_000


def test_the_organisation_that_is_asked_about_is_listed_first(worker: FakeWorker) -> None:
    """Or else the lookup that it shares; the headline is the same, and the others are in their order."""
    worker.organisations += [FakeLookup(number) for number in range(1, 501)]
    worker.organisations += [FakeLookup(None)]
    down = FakeLookup(2, State.OPEN)
    worker.organisations[1] = down
    worker.statistics.state_changed(2, State.OPEN)
    usual, asked, shared = (worker.overview.describe(whose) for whose in (None, 500, 777))
    assert [row.organisation for row in usual["lookups"]["rows"][:2]] == [2, None]
    assert [row.organisation for row in asked["lookups"]["rows"][:3]] == [500, None, 2]
    assert [row.organisation for row in shared["lookups"]["rows"][:2]] == [None, 2]
    assert usual["headline"] == asked["headline"] == shared["headline"]


def test_a_lookup_that_is_down_comes_first_and_the_headline_names_it(worker: FakeWorker) -> None:
    """Worst first, then the most asked; the sentence has the name that the file gives."""
    worker.totals[EMAILS.name]["two_button", "lookup_failed"] = 1
    worker.organisations += [FakeLookup(1), FakeLookup(3), FakeLookup(2, State.OPEN)]
    worker.lanes.append(lane(0))
    worker.second()
    for _ in range(20):
        worker.statistics.answered(3, LookupOutcome(Outcome.EXISTING), 0.004)
    worker.statistics.answered(2, LookupOutcome(Outcome.ERROR, Cause.CONNECT), 0.004)
    worker.statistics.state_changed(2, State.OPEN)
    worker.now += 170
    worker.statistics.answered(2, LookupOutcome(Outcome.ERROR, Cause.CONNECT), 0.004)
    worker.now += 10
    described = worker.described()
    rows = described["lookups"]["rows"]
    assert [row["organisation"] for row in rows] == [2, 1, 3]
    assert [row["condition"] for row in rows] == ["down", "unknown", "unknown"]
    assert (rows[0]["name"], rows[0]["state"], rows[0]["down_for"]) == ("Second", "open", 180)
    assert described["headline"]["text"].startswith("The lookup of Second (2) has been down for 3 min: ")


def test_a_lookup_that_was_down_and_is_not_asked_any_more_is_unknown(worker: FakeWorker) -> None:
    """Down is what the last probe found, as long as one is not overdue; then nobody knows."""
    worker.organisations.append(quiet := FakeLookup(2, State.OPEN))
    worker.statistics.answered(2, LookupOutcome(Outcome.ERROR, Cause.CONNECT), 0.004)
    worker.statistics.state_changed(2, State.OPEN)
    worker.now += 1_800  # a long pause, by its settings
    (row,) = worker.described()["lookups"]["rows"]
    assert row["condition"] == "down"
    quiet.probe_due_in = -DOWN_IS_KNOWN_FOR - 1
    (row,) = worker.described()["lookups"]["rows"]
    assert row["condition"] == "unknown"


def test_a_lookup_that_fails_often_is_marked(worker: FakeWorker) -> None:
    """Its breaker is closed, and a good part of its questions has no answer: above those that do well."""
    worker.organisations += [FakeLookup(1), FakeLookup(2)]
    for _ in range(10):
        worker.statistics.answered(1, LookupOutcome(Outcome.EXISTING), 0.004)
        worker.statistics.answered(1, LookupOutcome(Outcome.EXISTING), 0.004)
        worker.statistics.answered(2, LookupOutcome(Outcome.ERROR, Cause.TIMEOUT), 0.4)
    rows = worker.described()["lookups"]["rows"]
    assert [(row["organisation"], row["condition"]) for row in rows] == [(2, "fails_often"), (1, "answers")]


def test_not_ready_is_timed_from_when_it_began(worker: FakeWorker) -> None:
    """A short rebalance calls nobody; one that lasts does."""
    worker.second()
    worker.unready = ["no partitions assigned yet"]
    for _ in range(100):
        worker.second()
    assert worker.described()["headline"]["urgency"] == "degraded"
    for _ in range(250):
        worker.second()
    assert worker.described()["headline"]["urgency"] == "act"
    worker.unready = []
    worker.second()
    worker.unready = ["no partitions assigned yet"]
    worker.second()
    assert worker.described()["headline"]["urgency"] == "degraded"


def test_a_start_that_waits_for_a_person_says_so_at_once(worker: FakeWorker) -> None:
    """Whether to mail a topic's history is a decision for a person, not for a default."""
    worker.decision = worker.unready = "a decision: set ACTIONS_START"  # type: ignore[assignment]  # any text
    headline = worker.described()["headline"]
    assert (headline["urgency"], headline["title"]) == ("act", "A person must act.")
    assert headline["text"] == "The worker waits for a decision: set ACTIONS_START."


def test_dead_letters_and_errors_are_listed(worker: FakeWorker) -> None:
    """By kind, with their last time; the sentence mentions the new ones."""
    worker.totals[EMAILS.name]["two_button", "no_lookup"] = 1
    worker.totals[DEAD_LETTERS.name]["actions", "not_json"] = 3
    worker.lanes.append(lane(0))
    worker.second()
    described = worker.described()
    assert described["dead_letters"] == [
        {"topic": "actions", "error_class": "not_json", "recent": 3, "total": 3, "last": worker.now}
    ]
    assert "3 records became dead letters" in described["headline"]["text"]
    assert described["errors"] == []
