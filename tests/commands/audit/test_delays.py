"""Percentiles without keeping every delay."""

from hypothesis import given
from hypothesis import strategies as st

from streams.commands.audit.delays import Delays


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=300))
def test_percentiles_are_within_half_a_percent(milliseconds: list[int]) -> None:
    """p50, p90 and p99 are those of the sorted delays, at most 0.4 % too low; the maximum is exact."""
    delays = Delays()
    for each in milliseconds:
        delays.add(each)
    seconds = delays.seconds()
    assert seconds is not None
    ranked = sorted(milliseconds)
    for percent in (50, 90, 99):
        exact = ranked[-(-len(ranked) * percent // 100) - 1] / 1000
        assert exact * 0.996 <= seconds[f"p{percent}"] <= exact
    assert seconds["max"] == max(milliseconds) / 1000


def test_a_negative_delay_is_counted_as_a_difference_of_clocks() -> None:
    """An email stamped before its action counts with a delay of 0, and is noted."""
    delays = Delays()
    delays.add(-5)
    assert delays.negative == 1
    assert delays.seconds() == {"p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0}


def test_no_delays_have_no_percentiles() -> None:
    """Without a single email there is nothing to say."""
    assert Delays().seconds() is None
