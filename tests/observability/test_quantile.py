"""The one quantile of this project."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.observability.quantile import quantile


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.999, 100), (1.0, 100)])
def test_a_quantile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    """The 99th percentile of 100 delays is the 99th of them, without interpolation."""
    assert quantile(range(1, 101), share) == expected


def test_no_values_have_no_quantile() -> None:
    """What is not known is None, whether there are no values or none was counted."""
    assert quantile([], 0.5) is None
    assert quantile([0.1, 0.2], 0.5, [0, 0]) is None


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=60), st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 1.0])
)
def test_counted_values_are_as_good_as_a_list_of_them(values: list[int], share: float) -> None:
    """Values with their counts have the quantiles of the list in which each stands that often."""
    kinds = list(range(6))
    counted = quantile(kinds, share, [values.count(kind) for kind in kinds])
    assert counted == quantile(sorted(values), share)
