"""Whether a lookup service answers so fast that waiting for it delays nobody: times in, yes or no out."""

FAST = 0.05
"""Seconds. A service is fast while its oldest open lookup is younger than this."""

_RECENT = 16
"""The running mean of how long a lookup takes covers so many lookups."""


class Latency:
    """What was seen of one service. Times are in seconds, on any one clock."""

    def __init__(self) -> None:
        self._usual = 0.0  # that a lookup is out: a running mean
        self._answered_at = float("-inf")

    def ended(self, seconds: float) -> None:
        """Note how long a lookup was out, also one that was given up."""
        self._usual += (seconds - self._usual) / _RECENT

    def answered(self, now: float) -> None:
        """Note that the service said something just now."""
        self._answered_at = now

    def holds(self, out_for: float, now: float) -> bool:
        """Whether waiting is short, with the oldest open lookup asked `out_for` seconds ago.

        It is while that is at most ``FAST`` seconds. Beyond, it still is while lookups take at most ``FAST``
        on average and one was answered within ``FAST``: a single slow lookup among fast ones.
        """
        return out_for <= FAST or (self._usual <= FAST and now - self._answered_at <= FAST)
