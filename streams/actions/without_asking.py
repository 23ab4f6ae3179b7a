"""What is decided of an action by its key alone: where nobody has to be asked, or nobody can be."""

from __future__ import annotations

import math
from collections.abc import Callable

from streams.actions.decision import Grounds
from streams.actions.rekeying import Rekeying
from streams.lookup.lookups import Lookups


class WithoutAsking:
    """Decides of the actions of one partition, as far as no other field of them plays a part."""

    def __init__(
        self,
        partition: int,
        subscribed: Callable[[int, bytes, float], bool | None],
        lookups: Lookups,
        rekeying: Rekeying | None,
        message_decides: Callable[[int], bool],
    ) -> None:
        """Take what :class:`streams.actions.processor.ActionProcessor` takes."""
        self._partition = partition
        self._subscribed = subscribed
        self._lookups = lookups
        self._rekeying = rekeying
        self._message_decides = message_decides
        self._moment = math.nan  # seconds since the epoch
        self._unasked: dict[int, Grounds | None] = {}  # at that moment, by organisation

    def __call__(self, key: bytes, org_id: int, now: float) -> Grounds | None:
        """Return on what grounds the processor would decide. Nothing is counted, and nobody is asked.

        What is known of an organisation holds for one moment.

        Args:
            key: the action's ``orgId:contactRef``.
            org_id: its organisation.
            now: seconds since the epoch.

        Returns:
            None where the rest of the record may matter, as for a lookup or for the probe of one.
        """
        if (subscribed := self._subscribed(self._partition, key, now)) is not None:
            return subscribed, None
        if self._rekeying is not None and self._rekeying.needed(key):
            return None
        if now != self._moment:
            self._moment, self._unasked = now, {}
        if org_id not in self._unasked:
            outcome = "ask" if self._message_decides(org_id) else self._lookups.unasked(org_id)
            self._unasked[org_id] = None if outcome == "ask" else (None, outcome)
        return self._unasked[org_id]
