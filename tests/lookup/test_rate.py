"""How many requests a second a service is sent."""

from hypothesis import given
from hypothesis import strategies as st

from streams.lookup.rate import RateLimit, RatePolicy


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_without_a_limit_there_is_always_a_turn() -> None:
    """The default gives any number of turns at once."""
    limit = RateLimit(RatePolicy(), Clock())
    assert all(limit.take() for _ in range(10_000))
    assert limit.wait(10_000) == 0.0


def test_after_a_burst_turns_come_at_an_even_pace() -> None:
    """Three at once, then one each tenth of a second; a pause saves up three again, and no more."""
    clock = Clock()
    limit = RateLimit(RatePolicy(10.0, 3), clock)
    for _ in range(2):
        assert [limit.take() for _ in range(5)] == [True, True, True, False, False]
        assert abs(limit.wait() - 0.1) < 1e-6
        assert abs(limit.wait(4) - 0.5) < 1e-6
        clock.now += limit.wait()
        assert [limit.take(), limit.take()] == [True, False]
        clock.now += 3_600


@given(
    st.floats(0.1, 10_000),
    st.integers(1, 100),
    st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_in_no_span_of_time_are_there_more_turns_than_allowed(
    per_second: float, burst: int, pauses: list[float]
) -> None:
    """Between any two turns lie at most a burst and what the pace allows; a wait is never in vain."""
    clock = Clock()
    limit = RateLimit(RatePolicy(per_second, burst), clock)
    turns: list[float] = []
    for pause in pauses:
        clock.now += pause
        while limit.take() and len(turns) < 500:
            turns.append(clock.now)
        clock.now += limit.wait()
        if len(turns) < 500:
            assert limit.take()
            turns.append(clock.now)
    for number, since in enumerate(turns):
        assert len(turns) - number <= burst + 1 + (turns[-1] - since) * per_second + 1e-3 * (len(turns))
