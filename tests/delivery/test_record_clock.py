"""Timestamps that brokers take from a machine whose clock is wrong."""

from __future__ import annotations

import math

import pytest

from streams.delivery.record_clock import RecordClock

HOUR = 3600.0


class Broker:
    """Takes timestamps near its own clock, and hears what a lane sends at a time."""

    def __init__(self, ahead: float, back: float = math.inf) -> None:
        self.ahead = ahead  # seconds that the machine's clock is ahead of the broker's
        self.back = back  # seconds that a timestamp may be behind the broker's clock
        self.refusals = 0
        self.seconds = 0.0
        self.clock = RecordClock(now=lambda: 1e9 + self.seconds, monotonic=lambda: self.seconds)

    def send(self) -> None:
        while True:
            correction = self.clock.correction()
            if -self.back <= self.ahead + correction <= HOUR:
                self.clock.taken(correction)
                return
            self.refusals += 1
            assert self.refusals < 50
            self.clock.refused(correction)


def test_a_clock_that_is_right_is_not_corrected() -> None:
    """Nothing is said, and the time is the machine's."""
    broker = Broker(ahead=30.0)
    broker.send()
    assert broker.clock.correction() == 0.0
    assert broker.clock.fault is None
    assert broker.clock.now() == 1e9


@pytest.mark.parametrize(
    ("broker", "said"),
    [
        (Broker(ahead=2 * HOUR), "ahead of the brokers' clock"),
        (Broker(ahead=400 * HOUR), "ahead of the brokers' clock"),
        (Broker(ahead=-30 * HOUR, back=24 * HOUR), "behind the brokers' clock"),
    ],
)
def test_a_wrong_clock_is_corrected_and_named(broker: Broker, said: str) -> None:
    """A correction that the broker takes is found once, is kept, and the time is unknown meanwhile."""
    broker.send()
    found = broker.refusals
    for _ in range(10):
        broker.seconds += 1
        broker.send()
    assert broker.refusals == found
    assert said in (broker.clock.fault or "")
    assert math.isnan(broker.clock.now())


def test_a_clock_that_was_set_right_is_found_within_a_minute_or_so() -> None:
    """Now and then it is tried without a correction: one refusal a minute while the clock is wrong."""
    broker = Broker(ahead=2 * HOUR)
    broker.send()
    found = broker.refusals
    for _ in range(180):
        broker.seconds += 1
        broker.send()
    assert broker.refusals - found == 2
    assert broker.clock.fault is not None
    broker.ahead = 0.0
    for _ in range(70):
        broker.seconds += 1
        broker.send()
    assert broker.clock.fault is None
    assert broker.clock.correction() == 0.0


def test_lanes_that_are_refused_at_the_same_moment_try_one_correction() -> None:
    """The second one to be refused with the same correction changes nothing."""
    clock = RecordClock()
    first, second = clock.correction(), clock.correction()
    clock.refused(first)
    clock.refused(second)
    assert clock.correction() == -HOUR
