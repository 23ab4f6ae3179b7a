import pytest

from bench import figures


def test_a_spread_has_the_median_and_the_extremes() -> None:
    """Three rounds give their middle one, with the slowest and the fastest beside it."""
    assert figures.spread([3.0, 1.0, 8.0]) == figures.Spread(3.0, 1.0, 8.0)


def test_a_spread_of_nothing_is_refused() -> None:
    """No rounds give no figure, rather than a zero."""
    with pytest.raises(ValueError, match="no values"):
        figures.spread([])


def test_ratios_are_taken_between_neighbours() -> None:
    """A round in which the machine was twice as slow for both leaves the ratio as it is."""
    assert figures.ratios([(100.0, 50.0), (50.0, 25.0), (100.0, 50.0)]) == figures.Spread(2.0, 2.0, 2.0)


@pytest.mark.parametrize(("moment", "expected"), [(0.0, 10.0), (1.5, 15.0), (2.0, 20.0), (9.0, 30.0)])
def test_between_samples_lines_are_straight(moment: float, expected: float) -> None:
    """CPU time at a moment is taken from the samples around it, and from the last one outside of them."""
    assert figures.at(moment, [1.0, 2.0, 3.0], [10.0, 20.0, 30.0]) == pytest.approx(expected)


def test_a_backlog_is_measured_after_it_has_settled() -> None:
    """A slow first fifth counts neither in the rate nor in the CPU time."""
    slow = [number * 1.0 for number in range(20)]  # 20 emails, one a second
    fast = [19.0 + number * 0.1 for number in range(1, 81)]  # 80 emails, ten a second
    found = figures.drained([*slow, *fast], [0.0, 19.1, 27.0], [0.0, 500.0, 500.0 + 0.079], 0.2)
    assert found.rate == pytest.approx(10.0)
    assert found.cpu_us == pytest.approx(1000.0)
    assert found.seconds == pytest.approx(7.9)
