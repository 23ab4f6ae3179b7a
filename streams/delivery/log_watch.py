"""Looks whether the logs that the lanes read are still the same, while the worker runs.

A topic can be deleted and made again, and a log can be cut. The client does not tell: it goes on reading, and
an offset then means another record. So the topics' ids and the logs' ends are looked at every few seconds,
and at once when a fetch was refused; until then the partition takes no records. A lane whose log is another
one opens again: where it begins is decided as at the start (:mod:`streams.delivery.starting`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from streams.delivery.lanes import Lanes
from streams.delivery.offsets import Offsets

log = logging.getLogger(__name__)


class LogWatch:
    """Watches the topics of a worker's lanes."""

    #: Seconds between two looks, at most.
    LOOK_EVERY = 3.0
    #: Looks after a change at which the consumer is told of it: not all brokers know a new topic at once.
    TOLD = 5

    def __init__(
        self,
        lanes: Mapping[str, Lanes],
        offsets: Offsets,
        topic_id: Callable[[AIOKafkaAdminClient, str], Awaitable[str]],
        on_changed: Callable[[], None],
    ) -> None:
        """Prepare.

        Args:
            lanes: by topic.
            offsets: of the cluster.
            topic_id: asks for the id of a topic; "" where the brokers have none.
            on_changed: called when a topic is gone, or is there again: the consumer has to look, too.
        """
        self._lanes = lanes
        self._offsets = offsets
        self._topic_id = topic_id
        self._on_changed = on_changed
        self._ids: dict[str, str | None] = {}  # by topic, when last looked at; None: it is not there
        self._to_tell = 0
        self._look_now = asyncio.Event()
        for each in lanes.values():
            each.on_interrupted = self._look_now.set

    @property
    def missing(self) -> list[str]:
        """Say of each topic that is not there what becomes of it."""
        return [
            f"topic {topic} is not there: it was deleted. Make it again with as many partitions; then"
            " `streams start-at` says for each of them where to go on"
            for topic, topic_id in self._ids.items()
            if topic_id is None
        ]

    async def run(self) -> None:
        """Look again and again."""
        while True:
            self._look_now.clear()
            try:
                await self.look()
            except KafkaError as exc:  # nothing new is known; what is in doubt waits
                log.warning(
                    "cannot look at the logs of the actions (%s)",
                    type(exc).__name__,
                    extra={"event": "log_look_failed"},
                )
            try:
                await asyncio.wait_for(self._look_now.wait(), self.LOOK_EVERY)
            except TimeoutError:
                continue

    async def look(self) -> None:
        """Look once. Waits for the cluster; raises KafkaError."""
        admin = await self._offsets.admin()
        for topic, lanes in self._lanes.items():
            doubted = lanes.doubted
            topic_id: str | None
            try:
                topic_id = await self._topic_id(admin, topic)
            except UnknownTopicOrPartitionError:
                topic_id = None
            before = self._ids.get(topic, topic_id)
            self._ids[topic] = topic_id
            if topic_id != before:
                self._to_tell = self.TOLD
                for number in lanes.partitions() if topic_id is not None else ():
                    lanes.reopen(number)
            elif topic_id is not None:
                # Noted before the ends are asked for: meanwhile the lanes read on.
                read = {TopicPartition(topic, number): at for number, at in lanes.offered_up_to.items()}
                for place, extent in (await self._offsets.extents(read) if read else {}).items():
                    if extent.end < read[place]:
                        lanes.reopen(place.partition, extent.end)
                lanes.trust(doubted & lanes.partitions())
        if self._to_tell:
            self._to_tell -= 1
            self._on_changed()
