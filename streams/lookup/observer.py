"""Who counts what lookups come to: the port that an organisation's lookups call."""

from __future__ import annotations

from typing import Protocol

from streams.lookup.breaker import State
from streams.messages.decode import LookupOutcome


class LookupObserver(Protocol):
    """Who counts. Called on the event loop, after the fact; what it raises is logged and changes nothing.

    ``org_id`` is ``None`` where several organisations share one lookup.
    """

    def answered(self, org_id: int | None, outcome: LookupOutcome, seconds: float) -> None:
        """A real exchange came to this, probes included, so many seconds after it was started."""

    def state_changed(self, org_id: int | None, state: State) -> None:
        """The breaker is now in this state."""
