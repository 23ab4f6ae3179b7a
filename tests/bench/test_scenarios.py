"""The sizes of a run."""

from bench.scenarios import FULL


def test_a_low_rate_is_watched_until_its_p99_is_of_many_delays() -> None:
    """At least 2,000 delays at each rate of a full run; at a high one the usual time gives more."""
    assert [FULL.seconds_at(rate) for rate in (200, 2_000, 10_000)] == [10.0, 2.0, 2.0]
