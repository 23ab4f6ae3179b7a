"""How fast a core is."""

import time

from bench.core_speed import core_speed


def test_it_is_turns_by_the_time_that_they_took() -> None:
    """What it says cannot be less than half a million turns by the time of the whole call."""
    begin = time.perf_counter()
    speed = core_speed()
    assert speed >= 0.5 / (time.perf_counter() - begin)
