from bench.silence import Silence


def test_the_longest_gap_of_each_partition_is_kept() -> None:
    """One that waits longer than the other has the longer silence, however often it came afterwards."""
    silence = Silence(2, 0.0)
    for moment in (1.0, 1.5, 4.5, 5.0):
        silence.arrived(0, moment)
    for moment in (1.0, 2.0, 3.0, 4.0, 5.0):
        silence.arrived(1, moment)
    assert silence.longest(5.0) == [3.0, 1.0]


def test_a_silence_that_is_not_over_counts() -> None:
    """A partition from which nothing comes any more is silent until now."""
    silence = Silence(1, 0.0)
    silence.arrived(0, 1.0)
    assert silence.longest(9.0) == [8.0]


def test_what_was_before_an_event_is_not_put_down_to_it() -> None:
    """The clock of a partition that was silent already begins with the event."""
    silence = Silence(1, 0.0)
    silence.begin(10.0)
    silence.arrived(0, 12.0)
    assert silence.longest(12.5) == [2.0]
