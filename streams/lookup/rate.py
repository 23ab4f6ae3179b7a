"""How many requests a second a service may be sent, with the clock passed in.

It is the generic cell rate algorithm: all that is kept is when the next request is due at an even pace.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

#: Seconds. A timer may fire a little early, and rounding may hide a turn that has come.
_EARLY = 1e-6


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """Up to ``burst`` requests at once, ``per_second`` in the long run; by default there is no limit."""

    per_second: float = math.inf
    burst: int = 1


class RateLimit:
    """Gives turns. Not thread-safe: it belongs to one event loop. ``clock`` gives monotonic seconds."""

    def __init__(self, policy: RatePolicy, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._interval = 1.0 / policy.per_second
        self._ahead = (policy.burst - 1) * self._interval  # so far may requests run ahead of the even pace
        self._next = clock()  # when the next request is due at the even pace

    def take(self) -> bool:
        """Take a turn if there is one now."""
        if self.wait():
            return False
        self._next = max(self._next, self._clock()) + self._interval
        return True

    def wait(self, before: int = 0) -> float:
        """Seconds until there is a turn for a request that has so many others before it; 0.0: now."""
        now = self._clock()
        seconds = max(self._next, now) + before * self._interval - self._ahead - now
        return seconds if seconds > _EARLY else 0.0
