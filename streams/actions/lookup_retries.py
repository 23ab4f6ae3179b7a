"""How a person has a lookup service tried again at once, without waiting for the breaker's pause to end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.delivery.decisions import retries_in
from streams.delivery.transaction import Position
from streams.lookup.breaker import State
from streams.lookup.lookups import Lookups

log = logging.getLogger(__name__)


class LookupRetries:
    """Asks for a person's decision while a breaker is open, and ends the breaker's pause."""

    #: Seconds between two looks at whether a person has decided.
    LOOK_EVERY = 3.0
    #: Seconds for which a decision holds: a worker that looks later leaves its breakers as they are.
    HOLDS = 300.0

    def __init__(
        self,
        lookups: Lookups,
        dead_letters_topic: str,
        committed: Callable[[TopicPartition], Awaitable[Position]],
        now: Callable[[], float],
    ) -> None:
        """Start without a decision.

        Args:
            lookups: whose breakers.
            dead_letters_topic: beside whose offset in partition 0 the group commits such decisions.
            committed: reads the group's committed offset and metadata from the cluster.
            now: gives seconds since the epoch.
        """
        self._lookups = lookups
        self._place = TopicPartition(dead_letters_topic, 0)
        self._committed = committed
        self._now = now
        self._seen: dict[int | None, int] = {}  # by organisation, when it was decided

    async def look(self) -> None:
        """End the pauses that a person wants ended. Waits for the cluster; asks nothing if none is open."""
        if all(lookup.state is State.CLOSED for lookup in self._lookups):
            return
        try:
            position = await self._committed(self._place)
        except KafkaError as exc:
            log.info(
                "cannot ask whether a lookup is to be tried again (%s)",
                type(exc).__name__,
                extra={"event": "lookup_retry_unknown"},
            )
            return
        for org_id, decided_at in retries_in(position).items():
            if self._seen.get(org_id) == decided_at:
                continue
            self._seen[org_id] = decided_at
            if self._now() - decided_at / 1000 < self.HOLDS:
                self._lookups.end_pause(org_id)
                log.warning(
                    "a person has the lookup of %s tried again",
                    "every organisation" if org_id is None else f"organisation {org_id}",
                    extra={"event": "lookup_retried", "organisation": org_id},
                )

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(self.LOOK_EVERY)
            await self.look()
