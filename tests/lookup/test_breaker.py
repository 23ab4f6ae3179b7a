import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from streams.lookup.breaker import Admission, Breaker, BreakerPolicy, State, Ticket
from streams.lookup.client import ServiceHealth

POLICY = BreakerPolicy(jitter=0.0)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def admitted(breaker: Breaker) -> Ticket:
    ticket = breaker.admit()
    assert ticket is not None
    return ticket


def make(policy: BreakerPolicy = POLICY, random: float = 0.0) -> tuple[Breaker, Clock]:
    clock = Clock()
    return Breaker(policy, clock, lambda: random), clock


def fail(breaker: Breaker, times: int, retry_after: float | None = None) -> None:
    for _ in range(times):
        breaker.settle(admitted(breaker), ServiceHealth.FAILURE, retry_after)


def opened(policy: BreakerPolicy = POLICY, random: float = 0.0) -> tuple[Breaker, Clock]:
    breaker, clock = make(policy, random)
    fail(breaker, policy.minimum_calls)
    assert breaker.state is State.OPEN
    return breaker, clock


def probing(policy: BreakerPolicy = POLICY) -> tuple[Breaker, Clock, Ticket]:
    breaker, clock = opened(policy)
    clock.now = breaker.open_until
    ticket = admitted(breaker)
    assert ticket.admission is Admission.PROBE
    return breaker, clock, ticket


def test_it_is_closed_until_enough_calls_have_failed() -> None:
    """Below the least number of calls in the window even nothing but failures does not open it."""
    breaker, _ = make()
    fail(breaker, POLICY.minimum_calls - 1)
    assert breaker.state is State.CLOSED
    fail(breaker, 1)
    assert breaker.state is State.OPEN
    assert breaker.admit() is None


def test_half_of_many_calls_must_fail() -> None:
    """It opens with the failure that makes the failed share reach the ratio, not before."""
    breaker, _ = make()
    for _ in range(20):
        breaker.settle(admitted(breaker), ServiceHealth.HEALTHY)
    fail(breaker, 19)
    assert breaker.state is State.CLOSED
    fail(breaker, 1)
    assert breaker.state is State.OPEN


def test_good_news_never_opens_it() -> None:
    """A healthy answer that completes the least number of calls does not open it, whatever failed before."""
    breaker, _ = make()
    fail(breaker, POLICY.minimum_calls - 1)
    breaker.settle(admitted(breaker), ServiceHealth.HEALTHY)
    assert breaker.state is State.CLOSED


def test_old_failures_are_forgotten() -> None:
    """What is older than the window counts no more, even when nothing was called in between."""
    breaker, clock = make()
    fail(breaker, POLICY.minimum_calls - 1)
    clock.now += POLICY.window
    fail(breaker, POLICY.minimum_calls - 1)
    assert breaker.state is State.CLOSED
    fail(breaker, 1)
    assert breaker.state is State.OPEN


def test_client_errors_between_failures_do_not_hide_them() -> None:
    """Failures alternating with neutral answers open it exactly as the failures alone would."""
    breaker, _ = make()
    for _ in range(POLICY.minimum_calls - 1):
        fail(breaker, 1)
        breaker.settle(admitted(breaker), ServiceHealth.NEUTRAL)
    assert breaker.state is State.CLOSED
    fail(breaker, 1)
    assert breaker.state is State.OPEN


def test_half_open_admits_one_probe() -> None:
    """Of two hundred that ask when the pause has ended, one is admitted."""
    breaker, clock = opened()
    clock.now = breaker.open_until
    tickets = [breaker.admit() for _ in range(200)]
    assert [ticket.admission for ticket in tickets if ticket is not None] == [Admission.PROBE]
    assert breaker.state is State.HALF_OPEN


def test_a_healthy_probe_closes_it() -> None:
    """After a healthy probe it admits everybody, and counts from nought."""
    breaker, _, probe = probing()
    breaker.settle(probe, ServiceHealth.HEALTHY)
    assert breaker.state is State.CLOSED
    fail(breaker, POLICY.minimum_calls - 1)
    assert breaker.state is State.CLOSED


def test_a_failed_probe_opens_it_for_longer() -> None:
    """The pause doubles with every failed probe up to its longest, and starts anew after a healthy one."""
    breaker, clock = opened()
    pauses = []
    for _ in range(8):
        pauses.append(breaker.open_until - clock.now)
        clock.now = breaker.open_until
        breaker.settle(admitted(breaker), ServiceHealth.FAILURE)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    clock.now = breaker.open_until
    breaker.settle(admitted(breaker), ServiceHealth.HEALTHY)
    fail(breaker, POLICY.minimum_calls)
    assert breaker.open_until - clock.now == 1


def test_a_thousand_failed_probes_are_no_overflow() -> None:
    """A service that stays down for weeks keeps the longest pause."""
    breaker, clock = opened()
    for _ in range(1100):
        clock.now = breaker.open_until
        breaker.settle(admitted(breaker), ServiceHealth.FAILURE)
    assert breaker.open_until - clock.now == POLICY.longest_pause


@pytest.mark.parametrize("ends", [Breaker.cancel, partial(Breaker.settle, health=ServiceHealth.NEUTRAL)])
def test_a_probe_that_proves_nothing_gives_its_place_back(ends: Callable[[Breaker, Ticket], None]) -> None:
    """A neutral or cancelled probe decides nothing; the very next caller probes, and can close it."""
    breaker, _, probe = probing()
    ends(breaker, probe)
    assert breaker.state is State.HALF_OPEN
    second = admitted(breaker)
    assert second.admission is Admission.PROBE
    assert breaker.admit() is None
    breaker.settle(second, ServiceHealth.HEALTHY)
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("health", ServiceHealth)
def test_a_cancelled_probe_has_no_say_any_more(health: ServiceHealth) -> None:
    """What a cancelled probe reports after all neither decides nor takes the place of its successor."""
    breaker, _, probe = probing()
    breaker.cancel(probe)
    breaker.settle(probe, health)
    assert breaker.state is State.HALF_OPEN
    second = admitted(breaker)
    breaker.settle(probe, health)
    breaker.cancel(probe)
    assert breaker.state is State.HALF_OPEN
    assert breaker.admit() is None
    breaker.settle(second, ServiceHealth.HEALTHY)
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [(None, 1), (0, 1), (0.5, 1), (7, 7), (60, 60), (86_400, 60), (math.inf, 60), (math.nan, 1), (-5, 1)],
)
def test_retry_after_lengthens_the_pause_within_bounds(retry_after: float | None, pause: float) -> None:
    """What the service asks for is honoured from our own pause up to the cap: a day becomes a minute."""
    breaker, clock = make()
    fail(breaker, POLICY.minimum_calls, retry_after)
    assert breaker.open_until - clock.now == pause


def test_a_low_cap_does_not_shorten_the_pause() -> None:
    """A cap for Retry-After below our own pause leaves our own pause."""
    breaker, clock = make(replace(POLICY, first_pause=30.0, retry_after_cap=5.0))
    fail(breaker, POLICY.minimum_calls, 1000.0)
    assert breaker.open_until - clock.now == 30


def test_a_pause_can_be_ended_and_nothing_else() -> None:
    """The next to ask probes; after a failed probe the pause is as long as always. Closed: nothing."""
    breaker, clock = opened()
    assert breaker.admit() is None
    breaker.end_pause()
    probe = admitted(breaker)
    assert probe.admission is Admission.PROBE
    breaker.end_pause()
    assert breaker.admit() is None  # one probe at a time
    breaker.settle(probe, ServiceHealth.FAILURE)
    assert breaker.open_until - clock.now == 2 * POLICY.first_pause
    closed, _ = make()
    closed.end_pause()
    assert closed.state is State.CLOSED


def test_jitter_spreads_the_probes_of_many_workers() -> None:
    """Chance takes up to the given share off the pause, and never off what Retry-After asked for."""
    policy = replace(POLICY, jitter=0.2)
    breaker, clock = opened(policy, random=0.5)
    assert breaker.open_until - clock.now == pytest.approx(0.9)
    breaker, clock = make(policy, random=0.999)
    fail(breaker, policy.minimum_calls, 10.0)
    assert breaker.open_until - clock.now == pytest.approx(10)


def test_the_wall_clock_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day's step of the wall clock, either way, changes nothing: the pause ends by the clock passed in."""
    breaker, clock = opened()
    for step in (86_400.0, -86_400.0):
        monkeypatch.setattr(time, "time", lambda step=step: step)
        assert breaker.admit() is None
    clock.now = breaker.open_until
    assert admitted(breaker).admission is Admission.PROBE


class BreakerMachine(RuleBasedStateMachine):
    """The breaker against a model that keeps every event in a list and every ticket's worth by name."""

    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.policy = BreakerPolicy(
            window=4.0,
            buckets=4,
            minimum_calls=3,
            first_pause=1,
            longest_pause=4,
            jitter=0.0,
            retry_after_cap=3,
        )
        self.clock = Clock()
        self.breaker = Breaker(self.policy, self.clock, lambda: 0.0)
        self.state = State.CLOSED
        self.counted: list[tuple[float, bool]] = []
        self.until = 0.0
        self.openings = 0
        self.valid: set[int] = set()  # which tickets still decide something
        self.serial = 0
        self.probe: int | None = None

    def _open(self, retry_after: float | None) -> None:
        pause = min(2**self.openings, 4)
        if retry_after is not None:
            pause = max(pause, min(retry_after, 3))
        self.openings += 1
        self.state, self.until, self.probe = State.OPEN, self.clock.now + pause, None
        self.valid.clear()

    @rule(seconds=st.sampled_from([0.25, 0.5, 1.0, 2.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule(target=tickets)
    def admit(self) -> object:
        ticket = self.breaker.admit()
        if self.state is State.OPEN and self.clock.now >= self.until:
            self.state = State.HALF_OPEN
        if self.state is State.OPEN or (self.state is State.HALF_OPEN and self.probe is not None):
            assert ticket is None
            return multiple()
        self.serial += 1
        self.valid.add(self.serial)
        if self.state is State.HALF_OPEN:
            self.probe = self.serial
        assert ticket is not None
        assert (ticket.admission is Admission.PROBE) == (self.state is State.HALF_OPEN)
        return self.serial, ticket

    @rule(
        given=consumes(tickets),
        health=st.sampled_from([*ServiceHealth, ServiceHealth.FAILURE]),
        retry_after=st.sampled_from([None, 0.5, 2.5, 900.0]),
    )
    def settle(self, given: tuple[int, Ticket], health: ServiceHealth, retry_after: float | None) -> None:
        serial, ticket = given
        self.breaker.settle(ticket, health, retry_after)
        if serial not in self.valid:
            return
        self.valid.discard(serial)
        if serial == self.probe:
            self.probe = None
            if health is ServiceHealth.HEALTHY:
                self.state, self.openings = State.CLOSED, 0
                self.counted.clear()
                self.valid.clear()
            elif health is ServiceHealth.FAILURE:
                self._open(retry_after)
        elif health is not ServiceHealth.NEUTRAL:
            now = self.clock.now
            self.counted.append((now, health is ServiceHealth.FAILURE))
            recent = [failed for at, failed in self.counted if math.floor(at) > math.floor(now) - 4]
            if health is ServiceHealth.FAILURE and len(recent) >= 3 and sum(recent) * 2 >= len(recent):
                self._open(retry_after)

    @rule(given=consumes(tickets))
    def cancel(self, given: tuple[int, Ticket]) -> None:
        serial, ticket = given
        self.breaker.cancel(ticket)
        if serial in self.valid:
            self.valid.discard(serial)
            if serial == self.probe:
                self.probe = None

    @invariant()
    def agree(self) -> None:
        assert self.breaker.state is self.state
        if self.state is State.OPEN:
            assert self.breaker.open_until == self.until


BreakerMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestBreakerAgainstItsModel = BreakerMachine.TestCase
