"""The dead-letter ceiling: a bad deploy must not drain the actions topic into the dead letters.

When more than a set share of a partition's last 1,000 actions are dead letters, the fault is more likely ours
than theirs: the partition stops, everything stays where it is, and a person decides.
"""

from __future__ import annotations

from collections import deque

WINDOW = 1_000  # actions
#: Before so many actions are seen no share is trusted.
LEAST = 100  # actions


class DeadLetterLimit:
    """Watches one partition."""

    def __init__(self, share: float) -> None:
        """Stop above `share` (0 to 1) of the window; 1 never stops."""
        self._share = share
        self._window: deque[int] = deque(maxlen=WINDOW)
        self.exceeded = False

    def note_good(self) -> None:
        """An action was understood."""
        self._window.append(0)

    def note_dead_letter(self) -> None:
        """An action became a dead letter."""
        window = self._window
        window.append(1)
        self.exceeded = len(window) >= LEAST and sum(window) > self._share * len(window)
