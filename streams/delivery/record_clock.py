"""The timestamps of records, where this machine's clock is not the brokers'.

A broker refuses a record whose timestamp is more than an hour ahead of its own clock, or further back than
its topic allows (``message.timestamp.after.max.ms`` and ``message.timestamp.before.max.ms``). No answer tells
what its clock says. So when it refuses, corrections are tried until it takes one, and the machine's clock is
named as wrong for as long as it needs that correction.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

_HOUR = 3600.0  # seconds
#: Seconds that are added to the clock, in the order in which they are tried: up to three weeks each way.
_CORRECTIONS = [sign * _HOUR * 2**power for sign in (-1, 1) for power in range(10)]
#: Seconds after which it is tried whether the clock was set right.
_LOOK_AGAIN = 60.0


class RecordClock:
    """One for all lanes of a worker. No method waits."""

    def __init__(
        self, now: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Trust the machine's clock.

        Args:
            now: the machine's clock, seconds since the epoch.
            monotonic: monotonic seconds.
        """
        self._now = now
        self._monotonic = monotonic
        self._correction = 0.0
        self._before = 0.0  # the correction that was taken last, while the clock is tried without one
        self._next = 0  # index of the correction to try next
        self._changed_at = 0.0

    def now(self) -> float:
        """Return the time, in seconds since the epoch; NaN while the clock is known to be wrong."""
        return math.nan if self._known_correction else self._now()

    @property
    def _known_correction(self) -> float:
        """What was taken last, also while the clock is tried without it; 0: the clock is right."""
        return self._correction or self._before

    @property
    def fault(self) -> str | None:
        """Why emails leave with another time than the machine's; None: its clock is right."""
        correction = self._known_correction
        if not correction:
            return None
        way = "ahead of" if correction < 0 else "behind"
        return (
            f"the clock of this machine is {way} the brokers' clock: they took a timestamp only after"
            f" {abs(correction) / _HOUR:.0f} h were {'taken off' if correction < 0 else 'added'}."
            " Set the clock (NTP); emails leave meanwhile"
        )

    def correction(self) -> float:
        """Return the seconds to add to the clock for the next records."""
        if self._correction and self._monotonic() - self._changed_at > _LOOK_AGAIN:
            self._before, self._correction = self._correction, 0.0
        return self._correction

    def taken(self, correction: float) -> None:
        """A broker took records with this correction."""
        if correction == self._correction:
            self._next, self._before = 0, 0.0

    def refused(self, correction: float) -> None:
        """A broker refused records with this correction for their timestamps."""
        if correction != self._correction:
            return  # another lane has found out before
        if self._before:
            self._correction, self._before = self._before, 0.0
        else:
            self._correction = _CORRECTIONS[self._next % len(_CORRECTIONS)]
            self._next += 1
        self._changed_at = self._monotonic()
