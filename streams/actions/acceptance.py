"""The limits of all partitions, and how a partition that stopped at its limit goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from weakref import WeakSet

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.actions.dead_letter import DeadLetterLimit
from streams.delivery.decisions import accepted_in
from streams.delivery.transaction import Position

log = logging.getLogger(__name__)


class DeadLetterLimits:
    """Makes the limit of each lane, and asks for a person's decision while one of them stops its lane."""

    #: Seconds between two looks at whether a person has decided.
    LOOK_EVERY = 3.0

    def __init__(
        self,
        share: float,
        dead_letters_topic: str,
        committed: Callable[[TopicPartition], Awaitable[Position]],
    ) -> None:
        """Start without limits.

        Args:
            share: of dead letters among the last actions that stops a partition, 0 to 1.
            dead_letters_topic: for which the group commits what is accepted.
            committed: reads the group's committed offset and metadata from the cluster.
        """
        self._share = share
        self._dead_letters_topic = dead_letters_topic
        self._committed = committed
        self._made: WeakSet[DeadLetterLimit] = WeakSet()  # those of closed lanes go by themselves

    def of(self, topic: str, partition: int) -> DeadLetterLimit:
        """Make the limit of a partition."""
        made = DeadLetterLimit(self._share, topic, partition)
        self._made.add(made)
        return made

    async def look(self) -> None:
        """Let those go on whose dead letters a person has accepted. Waits for the cluster."""
        for limit in [each for each in self._made if each.why is not None]:
            try:
                position = await self._committed(TopicPartition(self._dead_letters_topic, limit.partition))
            except KafkaError as exc:
                log.warning(
                    "cannot ask whether the dead letters of %s/%d are accepted (%s)",
                    limit.topic,
                    limit.partition,
                    type(exc).__name__,
                    extra={
                        "event": "acceptance_unknown",
                        "topic": limit.topic,
                        "partition": limit.partition,
                    },
                )
                continue
            before = accepted_in(position).get(limit.topic)
            if before is None:
                continue
            limit.accept(before)
            if limit.why is None:
                log.warning(
                    "%s/%d goes on: a person accepts its dead letters before offset %d",
                    limit.topic,
                    limit.partition,
                    before,
                    extra={
                        "event": "dead_letters_accepted",
                        "topic": limit.topic,
                        "partition": limit.partition,
                        "offset": before,
                    },
                )

    async def run(self) -> None:
        """Look again and again, as long as a partition stops."""
        while True:
            await asyncio.sleep(self.LOOK_EVERY)
            await self.look()
