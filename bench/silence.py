"""For how long nothing arrived: a clock for each partition. Pure; the tests of chaos use it, too."""

from collections.abc import Sequence


class Silence:
    """The longest time without an arrival, by partition, from a moment on. Seconds by any one clock."""

    def __init__(self, partitions: int, now: float) -> None:
        """All partitions are taken to have had an arrival at this moment."""
        self._last = [now] * partitions
        self.begin(now)

    def begin(self, now: float) -> None:
        """Forget what was before."""
        self._began = now
        self._longest = [0.0] * len(self._last)

    def arrived(self, partition: int, now: float) -> None:
        """Something came."""
        self._longest[partition] = max(self._longest[partition], self._lasting(partition, now))
        self._last[partition] = now

    def longest(self, now: float) -> Sequence[float]:
        """By partition, with the one that is not over."""
        return [max(most, self._lasting(number, now)) for number, most in enumerate(self._longest)]

    def _lasting(self, partition: int, now: float) -> float:
        return now - max(self._last[partition], self._began)
