"""Percentiles of delays in memory that does not grow with their number. Pure."""

from collections import Counter

from streams.observability.quantile import quantile

PERCENTILES = (50, 90, 99)
_EXACT_BELOW = 1_024  # milliseconds; from here on a bucket is at most 1/256 of its value wide


class Delays:
    """Counts delays in buckets that are exact up to a second and 0.4 % wide beyond."""

    def __init__(self) -> None:
        """Start without any."""
        self._buckets: Counter[int] = Counter()
        self._most = 0
        #: Emails that are stamped earlier than their action: the clocks of two machines differ.
        self.negative = 0

    def add(self, milliseconds: int) -> None:
        """Count one; a negative one counts as 0."""
        if milliseconds < 0:
            self.negative += 1
            milliseconds = 0
        elif milliseconds >= _EXACT_BELOW:
            self._most = max(self._most, milliseconds)
            shift = milliseconds.bit_length() - 9
            milliseconds = milliseconds >> shift << shift
        self._buckets[milliseconds] += 1

    def seconds(self) -> dict[str, float] | None:
        """Return p50, p90, p99 (within 0.4 %) and max in seconds; None where there are no delays."""
        if not self._buckets:
            return None
        buckets = sorted(self._buckets)
        counts = [self._buckets[each] for each in buckets]
        found = {
            f"p{percent}": value / 1000
            for percent in PERCENTILES
            if (value := quantile(buckets, percent / 100, counts)) is not None
        }
        return {**found, "max": max(buckets[-1], self._most) / 1000}
