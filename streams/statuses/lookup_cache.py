"""Lookup answers on their way into the table, and out of it when they have expired.

Only answers are kept, never failures. Keeping one is a convenience, for the lookup service above all: nothing
waits for it, and what cannot be written is asked for again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection
from itertools import islice

from aiokafka.errors import KafkaError

from streams.messages.decode import LookupOutcome, Outcome
from streams.statuses.row import Row, has_expired
from streams.statuses.table import StatusTable, StoreAway

log = logging.getLogger(__name__)

#: How long an answer is believed, in seconds, by orgId and outcome; 0: it is not kept.
Lifetime = Callable[[int, Outcome], float]


class LookupCache:
    """Keeps answers for their lifetime, shortened by up to a tenth so that they do not all expire at once."""

    #: Seconds in which answers gather before they are written.
    GATHER = 0.05
    #: Answers that may wait to be written, in all; more are not kept. Answers that are written at once.
    WAITING_MOST, WRITE_SIZE = 50_000, 2_000
    #: Rows that are looked at in one step of the sweep, and seconds between two steps.
    SWEEP_SIZE, SWEEP_EVERY = 1_000, 1.0

    def __init__(
        self,
        statuses: StatusTable,
        lifetime: Lifetime,
        *,
        now: Callable[[], float],
        random: Callable[[], float],
        partitions: Callable[[], Collection[int]],
    ) -> None:
        """Keep answers in `statuses`.

        Args:
            statuses: the table.
            lifetime: how long an answer is believed.
            now: wall clock, seconds since the epoch: expiry has to mean the same after a restart.
            random: a random number from 0 to 1.
            partitions: the partitions that are ours at the moment.
        """
        self._statuses = statuses
        self._lifetime = lifetime
        self._now = now
        self._random = random
        self._partitions = partitions
        self._waiting: dict[int, list[tuple[bytes, Row]]] = defaultdict(list)
        self._count = 0
        self._some = asyncio.Event()

    def keep(self, partition: int, key: bytes, org_id: int, outcome: LookupOutcome) -> None:
        """Keep an answer; failures are not answers."""
        if outcome.outcome is Outcome.ERROR or self._count >= self.WAITING_MOST:
            return
        lifetime = self._lifetime(org_id, outcome.outcome)
        if lifetime <= 0:
            return
        now = self._now()
        expires_at = now + lifetime * (1 - 0.1 * self._random())
        self._waiting[partition].append((key, Row(outcome.outcome is Outcome.EXISTING, now, expires_at)))
        self._count += 1
        self._some.set()

    async def write(self) -> None:
        """Write what gathers, for ever."""
        while True:
            await self._some.wait()
            await asyncio.sleep(self.GATHER)
            self._some.clear()
            waiting, self._waiting, self._count = self._waiting, defaultdict(list), 0
            ours = set(self._partitions())
            for partition, rows in waiting.items():
                if partition not in ours:
                    continue  # somebody else's meanwhile; it will ask, if it has to
                try:
                    for start in range(0, len(rows), self.WRITE_SIZE):  # the event loop gets its turns
                        await self._statuses.apply(partition, rows[start : start + self.WRITE_SIZE])
                except StoreAway:
                    continue  # it will be asked again
                except KafkaError as exc:
                    log.warning(
                        "of %d answers of partition %d some are not kept (%s)",
                        len(rows),
                        partition,
                        type(exc).__name__,
                        extra={"event": "answers_not_kept", "partition": partition},
                    )

    async def sweep(self) -> None:
        """Remove expired answers, for ever, a few rows at a time."""
        while True:
            await asyncio.sleep(self.SWEEP_EVERY)
            for partition in list(self._partitions()):
                await self._sweep_one(partition)

    async def _sweep_one(self, partition: int) -> None:
        # In a frame of its own: until a walk over its keys is let go of, RocksDB keeps the partition's lock,
        # and a partition that left and came back could not be opened.
        rows = self._statuses.rows.items(partition)
        while partition in self._partitions() and (some := list(islice(rows, self.SWEEP_SIZE))):
            now = self._now()
            expired = [key for key, raw in some if has_expired(raw, now)]
            try:
                if expired:  # when they were read; the table looks again
                    await self._statuses.sweep(partition, expired, now)
            except StoreAway:
                return
            except KafkaError as exc:
                log.warning(
                    "the sweep of partition %d waits (%s)",
                    partition,
                    type(exc).__name__,
                    extra={"event": "sweep_waits", "partition": partition},
                )
            await asyncio.sleep(self.SWEEP_EVERY)
