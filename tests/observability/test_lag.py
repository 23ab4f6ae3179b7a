"""How far behind a worker is, and since when."""

from __future__ import annotations

import pytest

from streams.observability.lag import PartitionLags
from tests.observability.fakes import FakeLane, FakeLanes

START = 1_764_000_000.0  # seconds since the epoch


class World:
    """Two partitions of actions, what is known of their ends, and a clock."""

    def __init__(self, *lanes: FakeLane, opening: dict[int, str] | None = None) -> None:
        self.lanes = FakeLanes(list(lanes), opening or {})
        self.ends: dict[int, tuple[int, int]] = {}
        self.now = START
        self.kafka_answers = True
        self.backlog = PartitionLags(
            lambda: [("actions", self.lanes)],
            lambda _, number: self.ends.get(number),
            lambda: self.now,
            lambda: self.kafka_answers,
        )

    def lags(self) -> dict[str, int]:
        return {number: lag for (_, number), lag in self.backlog.lags()}

    def waiting_since(self) -> dict[str, float]:
        return {number: since for (_, number), since in self.backlog.waiting_since()}


def test_lag_is_from_the_committed_offset_to_the_end() -> None:
    """What is fetched, processed or awaits its lookup still lags, until it is committed."""
    world = World(FakeLane(0, committed=40, has_work=True), FakeLane(1, committed=7))
    world.ends = {0: (100, 100), 1: (7, 7)}
    assert world.lags() == {"0": 60, "1": 0}


def test_a_marker_at_the_end_is_no_lag() -> None:
    """Behind the last record of an upstream transaction lies an offset that nobody commits."""
    world = World(FakeLane(0, committed=99))
    world.ends = {0: (100, 100)}
    assert world.lags() == {"0": 0}
    assert world.waiting_since() == {}


def test_what_is_not_known_is_not_shown() -> None:
    """Before the consumer knows a partition's end there is no lag to show, and nothing that waits."""
    world = World(FakeLane(0), opening={1: "opening"})
    assert world.lags() == {}
    assert world.waiting_since() == {}


def test_while_kafka_does_not_answer_the_lag_is_unknown_and_what_waited_still_waits() -> None:
    """No lag is shown, as it may have grown; nor since when a partition waits, if nothing waited there."""
    world = World(
        FakeLane(0, committed=5),
        FakeLane(1, committed=5),
        FakeLane(2, committed=5, oldest_timestamp_ms=(START - 3) * 1000, has_work=True),
    )
    world.ends = {0: (5, 5), 1: (9, 5), 2: (9, 9)}
    before = world.waiting_since()
    assert before == {"1": START, "2": START - 3}
    world.kafka_answers = False
    for _ in range(2):
        world.now += 60
        assert world.lags() == {}
        assert world.waiting_since() == before


def test_the_oldest_action_is_the_one_that_a_lane_holds() -> None:
    """Its timestamp is shown in seconds; an idle lane shows nothing."""
    world = World(
        FakeLane(0, committed=5, oldest_timestamp_ms=(START - 4.5) * 1000, has_work=True),
        FakeLane(1, committed=7),
    )
    world.ends = {0: (9, 9), 1: (7, 7)}
    assert world.waiting_since() == {"0": START - 4.5}


def test_what_nobody_has_read_waits_since_it_was_seen() -> None:
    """A lane that cannot open, or does not take, shows since when records lie there; once read, theirs."""
    stopped = FakeLane(1, committed=7)
    world = World(stopped, opening={0: "BrokerDown"})
    world.ends = {0: (100, 40), 1: (9, 7)}
    assert world.lags() == {"0": 60, "1": 2}
    assert world.waiting_since() == {"0": START, "1": START}
    world.now = START + 600
    assert world.waiting_since() == {"0": START, "1": START}
    stopped.oldest_timestamp_ms, stopped.has_work = (START - 100) * 1000, True
    assert world.waiting_since() == {"0": START, "1": START - 100}
    stopped.oldest_timestamp_ms, stopped.has_work, stopped.committed, world.ends[1] = None, False, 9, (9, 9)
    assert world.waiting_since() == {"0": START}
    world.ends[1] = (12, 9)  # something new, later
    assert world.waiting_since() == {"0": START, "1": START + 600}


def test_a_partition_that_is_taken_away_is_forgotten() -> None:
    """When it comes back, its waiting begins anew: another worker may have done its work meanwhile."""
    world = World(opening={0: "BrokerDown"})
    world.ends = {0: (100, 40)}
    assert world.waiting_since() == {"0": START}
    world.lanes.opening = {}
    assert world.waiting_since() == {}
    world.now, world.lanes.opening = START + 1000, {0: "BrokerDown"}
    assert world.waiting_since() == {"0": START + 1000}


@pytest.mark.parametrize("timestamp", [-1, 0, START, START * 1_000_000, (START + 25 * 3600) * 1000])
def test_a_timestamp_that_cannot_be_true_shows_nothing(timestamp: float) -> None:
    """The record has waited since it was seen; there is no oldest action of 1970, and none of the future."""
    world = World(FakeLane(0, committed=5, oldest_timestamp_ms=timestamp, has_work=True))
    world.ends = {0: (9, 9)}
    assert world.waiting_since() == {"0": START}
