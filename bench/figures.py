"""Medians, spreads and ratios. Pure."""

import statistics
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several rounds."""

    median: float
    low: float
    high: float

    @property
    def width(self) -> float:
        """How far the extremes are apart, as a share of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a spread of no values")
    return Spread(statistics.median(values), min(values), max(values))


def ratios(pairs: Sequence[tuple[float, float]]) -> Spread:
    """One by the other, of neighbours in time, so that a slow minute falls on both.

    Raises:
        ValueError: there are no pairs.
    """
    return spread([one / other for one, other in pairs])


def at(moment: float, times: Sequence[float], values: Sequence[float]) -> float:
    """The value at a moment, on straight lines between samples; outside of them, the nearest one."""
    after = bisect_right(times, moment)
    if after == 0:
        return values[0]
    if after == len(times):
        return values[-1]
    share = (moment - times[after - 1]) / (times[after] - times[after - 1])
    return values[after - 1] + share * (values[after] - values[after - 1])


@dataclass(frozen=True, slots=True)
class Drained:
    """What a drained backlog comes to."""

    rate: float  # actions a second
    cpu_us: float  # microseconds of user and system time, per action
    seconds: float  # that were measured


def drained(
    stamps: Sequence[float], times: Sequence[float], cpu: Sequence[float], settling: float
) -> Drained:
    """Rate and cost of a backlog, after a first share in which caches, compilers and tables settle.

    Args:
        stamps: when each email was appended, seconds, in order.
        times: of the CPU samples, seconds by the same clock.
        cpu: seconds used until then.
        settling: share of the emails that is not counted.
    """
    first = int(len(stamps) * settling)
    begin, end = stamps[first], stamps[-1]
    counted = len(stamps) - bisect_right(stamps, begin)  # the batch of that very moment was made before it
    seconds = max(end - begin, 1e-3)
    counted = max(counted, 1)
    used = at(end, times, cpu) - at(begin, times, cpu)
    return Drained(counted / seconds, used / counted * 1e6, seconds)
