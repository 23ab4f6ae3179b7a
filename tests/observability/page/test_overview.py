"""What the page shows, from parts of a worker that a test can set."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest

from streams.lookup.breaker import State
from streams.messages.decode import Cause, LookupOutcome, Outcome
from streams.observability.lag import PartitionLags
from streams.observability.metric_catalogue import DEAD_LETTERS, EMAILS, IGNORED, Described
from streams.observability.page.lookup_statistics import LookupWatch
from streams.observability.page.overview import ROWS, Sources, Watch
from streams.observability.page.recent_errors import RecentErrors

NOW = 1_800_000_000.0


class FakeLane:
    """A lane as the page sees it."""

    def __init__(self, partition: int, **shown: Any) -> None:
        self.partition = partition
        self.committed = 100
        self.uncommitted = self.awaiting_lookup = 0
        self.oldest_timestamp_ms: int | None = None
        self.halted: str | None = None
        self.commit_failure: str | None = None
        self.has_work = False
        vars(self).update(shown)


class FakeLanes(list[FakeLane]):
    """Those of one topic."""

    def __init__(self) -> None:
        super().__init__()
        self.opening: dict[int, str] = {}


class FakeOrganisationLookup:
    """An organisation's lookups as the page sees it."""

    def __init__(self, org_id: int | None, state: State = State.CLOSED) -> None:
        self.org_id = org_id
        self.state = state
        self.waiting = 0


class Silent:
    """The metrics, which are not at stake here."""

    def answered(self, *_: object) -> None: ...

    def state_changed(self, *_: object) -> None: ...


class Worker:
    """All parts of a worker that the page looks at."""

    def __init__(self) -> None:
        self.now = NOW
        self.totals: dict[str, Counter[tuple[str, ...]]] = {
            described.name: Counter() for described in (EMAILS, IGNORED, DEAD_LETTERS)
        }
        self.lanes, self.rekeyed = FakeLanes(), FakeLanes()
        self.organisations: list[FakeOrganisationLookup] = []
        self.fetch_position: dict[tuple[str, int], tuple[int, int]] = {}
        self.dead: list[str] = []
        self.unready: list[str] = []
        self.decision: str | None = None
        self.lookups = LookupWatch(Silent(), lambda: self.now)
        self.errors = RecentErrors(lambda: self.now)
        backlog = PartitionLags(self.both, self.fetched, lambda: self.now)
        self.watch = Watch(
            Sources(
                worker="worker-0",
                version="1",
                counters=self,
                checks=self,
                decision=lambda: self.decision,
                lanes=self.both,
                fetch_position=self.fetched,
                backlog=backlog,
                organisations=self.organisations,
                lookups=self.lookups,
                called={2: "Second"}.get,
                errors=self.errors,
            ),
            now=lambda: self.now,
        )

    def both(self) -> list[tuple[str, FakeLanes]]:
        return [("actions", self.lanes), ("rekeyed", self.rekeyed)]

    def fetched(self, topic: str, partition: int) -> tuple[int, int] | None:
        return self.fetch_position.get((topic, partition))

    def counts(self, described: Described) -> Counter[tuple[str, ...]]:
        return self.totals[described.name]

    def not_alive(self) -> list[str]:
        return self.dead

    def not_ready(self) -> list[str]:
        return self.unready

    def second(self) -> None:
        self.now += 1
        self.watch.tick()


@pytest.fixture
def worker() -> Worker:
    made = Worker()
    made.watch.tick()
    return made


def test_a_point_counts_each_letter(worker: Worker) -> None:
    """Actions in, then the letters in the order in which the page is told them, ignored, dead letters."""
    worker.lanes.append(FakeLane(0))
    worker.fetch_position["actions", 0] = (100, 100)
    worker.second()
    worker.fetch_position["actions", 0] = (112, 112)
    worker.totals[EMAILS.name]["two_button", "lookup_failed"] = 7
    worker.totals[EMAILS.name]["one_button", "known_subscribed"] = 3
    worker.totals[IGNORED.name]["stage",] = 1
    worker.totals[DEAD_LETTERS.name]["actions", "not_json"] = 1
    worker.second()
    past = worker.watch.past()
    names = ["moment", "actions", *(reason for _, reason in past["letters"]), "ignored", "dead"]
    assert len(past["points"]) == 3
    point = dict(zip(names, past["points"][-1], strict=True))
    assert point.pop("moment") == worker.now
    assert {name: count for name, count in point.items() if count} == {
        "actions": 12,
        "lookup_failed": 7,
        "known_subscribed": 3,
        "ignored": 1,
        "dead": 1,
    }
    assert worker.watch.present()["point"] == past["points"][-1]


def test_lag_is_to_the_committed_offset_and_a_marker_is_none(worker: Worker) -> None:
    """What lies behind the last record of an idle, wholly read partition is a marker that nobody commits."""
    worker.lanes += [FakeLane(0), FakeLane(1), FakeLane(2, has_work=True), FakeLane(3)]
    worker.fetch_position |= {
        ("actions", 0): (101, 101),
        ("actions", 1): (140, 100),
        ("actions", 2): (101, 101),
    }
    rows = worker.watch.present()["partitions"]["rows"]
    assert [row["lag"] for row in rows] == [0, 40, 1, None]


def test_the_oldest_waiting_action_is_that_of_all_partitions(worker: Worker) -> None:
    """Its age in seconds; a clock ahead of ours makes nobody younger than now."""
    worker.lanes += [
        FakeLane(0, oldest_timestamp_ms=int((NOW - 5) * 1000), has_work=True),
        FakeLane(1, oldest_timestamp_ms=int((NOW + 9) * 1000), has_work=True),
        FakeLane(2),
    ]
    present = worker.watch.present()
    assert present["oldest"] == pytest.approx(5)
    assert [row["oldest"] for row in present["partitions"]["rows"]] == [pytest.approx(5), 0.0, None]


def test_partitions_in_trouble_come_first(worker: Worker) -> None:
    """A lane that stands still, cannot commit or cannot open is above those at work, and spoken of."""
    worker.lanes += [
        FakeLane(0),
        FakeLane(1, halted="too many dead letters"),
        FakeLane(2, commit_failure="KafkaError"),
    ]
    worker.lanes.opening = {5: "opening"}
    present = worker.watch.present()
    assert [row["partition"] for row in present["partitions"]["rows"]] == [1, 2, 5, 0]
    assert present["status"]["level"] == "act"
    assert present["status"]["rest"] == "Partition 1 of actions stands still: too many dead letters."


def test_tables_are_bounded(worker: Worker) -> None:
    """Hundreds of partitions and organisations are a table of some rows, and a count of the rest."""
    worker.lanes += [FakeLane(number) for number in range(100)]
    worker.organisations += [FakeOrganisationLookup(number) for number in range(1, 501)]
    present = worker.watch.present()
    assert len(present["partitions"]["rows"]) == len(present["lookups"]["rows"]) == ROWS
    assert present["partitions"]["more"] == 100 - ROWS
    assert present["lookups"]["more"] == 500 - ROWS
    assert len(orjson.dumps(present)) < 16_000


def test_a_lookup_that_is_down_comes_first_and_is_spoken_of(worker: Worker) -> None:
    """Worst first, then the most asked; the sentence has the name that the file gives."""
    worker.totals[EMAILS.name]["two_button", "lookup_failed"] = 1
    worker.organisations += [
        FakeOrganisationLookup(1),
        FakeOrganisationLookup(3),
        FakeOrganisationLookup(2, State.OPEN),
    ]
    worker.lanes.append(FakeLane(0))
    worker.second()
    for _ in range(20):
        worker.lookups.answered(3, LookupOutcome(Outcome.EXISTING), 0.004)
    worker.lookups.answered(2, LookupOutcome(Outcome.ERROR, Cause.CONNECT), 0.004)
    worker.lookups.state_changed(2, State.OPEN)
    worker.now += 180
    present = worker.watch.present()
    rows = present["lookups"]["rows"]
    assert [row["organisation"] for row in rows] == [2, 1, 3]
    assert not any(row["weak"] for row in rows)
    assert (rows[0]["name"], rows[0]["state"], rows[0]["down_for"]) == ("Second", "open", 180)
    assert present["status"]["rest"].startswith("Lookup of Second (2) has been down for 3 min: ")


def test_a_lookup_that_fails_often_is_marked(worker: Worker) -> None:
    """Its breaker is closed, and a good part of its questions has no answer: above those that do well."""
    worker.organisations += [FakeOrganisationLookup(1), FakeOrganisationLookup(2)]
    for _ in range(10):
        worker.lookups.answered(1, LookupOutcome(Outcome.EXISTING), 0.004)
        worker.lookups.answered(1, LookupOutcome(Outcome.EXISTING), 0.004)
        worker.lookups.answered(2, LookupOutcome(Outcome.ERROR, Cause.TIMEOUT), 0.4)
    rows = worker.watch.present()["lookups"]["rows"]
    assert [(row["organisation"], row["weak"]) for row in rows] == [(2, True), (1, False)]


def test_not_ready_is_timed_from_when_it_began(worker: Worker) -> None:
    """A short rebalance asks for nobody; one that lasts does."""
    worker.second()
    worker.unready = ["no partitions assigned yet"]
    for _ in range(100):
        worker.second()
    assert worker.watch.present()["status"]["level"] == "mending"
    for _ in range(250):
        worker.second()
    assert worker.watch.present()["status"]["level"] == "act"
    worker.unready = []
    worker.second()
    worker.unready = ["no partitions assigned yet"]
    worker.second()
    assert worker.watch.present()["status"]["level"] == "mending"


def test_a_start_that_waits_for_a_person_says_so_at_once(worker: Worker) -> None:
    """Whether to mail a topic's history is not decided by a default."""
    worker.decision = worker.unready = "a decision: set ACTIONS_START"  # type: ignore[assignment]  # any text
    status = worker.watch.present()["status"]
    assert (status["level"], status["headline"]) == ("act", "A person must act.")
    assert status["rest"] == "The worker waits for a decision: set ACTIONS_START."


def test_dead_letters_and_errors_are_listed(worker: Worker) -> None:
    """By kind, with their last time; the sentence mentions the new ones."""
    worker.totals[EMAILS.name]["two_button", "no_lookup"] = 1
    worker.totals[DEAD_LETTERS.name]["actions", "not_json"] = 3
    worker.lanes.append(FakeLane(0))
    worker.second()
    present = worker.watch.present()
    assert present["dead_letters"] == [
        {"topic": "actions", "error_class": "not_json", "recent": 3, "total": 3, "last": worker.now}
    ]
    assert "3 records became dead letters" in present["status"]["rest"]
    assert present["errors"] == []
