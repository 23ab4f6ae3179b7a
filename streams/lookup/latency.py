"""Whether a lookup service is so quick that waiting for it delays nobody. Takes times, returns a verdict."""

from __future__ import annotations

FAST = 0.05
"""Seconds in which a desk that counts as brisk frees a place: so long may lookups be out."""

_RECENT = 16
"""Lookups that make the running mean of how long one is out."""


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
        """Whether waiting is short, with the oldest lookup `out_for` so long.

        It is while that is no longer than ``BRISK``. Beyond, it is as long as lookups usually take no longer
        and one was answered that recently: a laggard among quick ones.
        """
        return out_for <= FAST or (self._usual <= FAST and now - self._answered_at <= FAST)
