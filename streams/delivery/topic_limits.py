"""How large a record each topic takes; whether a refused one is too large, or its topic's limit too low.

``max.message.bytes`` may change while the worker runs. A record that fits what its topic took before is as it
should be, and so is one of an ordinary size: when such a record is refused, somebody lowered the limit, and
it waits until the limit is raised. Only a larger record is at fault itself. Dead letters never wait for it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping

from streams.delivery.transaction import TopicFault

#: Bytes, the record batch of one record: a topic of emails must take so much. An ordinary one has 1 to 5 kB.
ORDINARY_BYTES = 16_384
#: Seconds in which the limits are not asked for again; all lanes of a worker look at the same ones.
_LOOK_EVERY = 1.0


class TopicLimits:
    """The limits of the topics that are written to, one object for all lanes of a worker."""

    def __init__(
        self,
        now: Mapping[str, int],
        *,
        guessed: Collection[str] = (),
        reduced: Collection[str] = (),
        look: Callable[[], Awaitable[Mapping[str, int]]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with the limits that were found at the start.

        Args:
            now: bytes, by topic.
            guessed: topics whose limit the cluster does not tell us, so that Kafka's default stands for it.
            reduced: topics whose records are made smaller until they fit, as dead letters are.
            look: asks the cluster for the limits; a topic that is not there is left out. None: they never
                change.
            clock: monotonic seconds.
        """
        #: Bytes, by topic: what it took when somebody looked.
        self.now = dict(now)
        self._guessed = frozenset(guessed)
        self._reduced = frozenset(reduced)
        self._most: dict[str, int] = {}
        self._note_most()
        self._look = look
        self._clock = clock
        self._looked_at = float("-inf")
        self._missing: frozenset[str] = frozenset()

    async def look(self) -> None:
        """Ask the cluster, at most once a second.

        Raises:
            KafkaError: the cluster cannot be asked.
        """
        if self._look is None or self._clock() - self._looked_at < _LOOK_EVERY:
            return
        self._looked_at = self._clock()
        found = await self._look()
        self._missing = frozenset(self.now.keys() - found.keys())
        self.now.update(found)
        self._note_most()

    def _note_most(self) -> None:
        for topic, limit in self.now.items():
            if topic not in self._guessed:
                self._most[topic] = max(limit, self._most.get(topic, 0))

    def fault(self, topic: str, size: int) -> TopicFault | None:
        """Return why a topic that refuses `size` bytes is at fault; None: the record is too large."""
        if topic in self._reduced or size > max(self._most.get(topic, 0), ORDINARY_BYTES):
            return None
        known = self.now[topic]
        most = f"{known:,} bytes" if known < size else f"fewer than {size:,} bytes"
        return TopicFault(
            "TopicLimitLowered",
            f"topic {topic} takes records of {most} at most (max.message.bytes), and a good record has"
            f" {size:,}: it waits until the limit is raised",
        )

    def missing(self) -> TopicFault | None:
        """Return which topic was not there when somebody looked; None: all were."""
        if not self._missing:
            return None
        return TopicFault(
            "UnknownTopicOrPartitionError",
            f"topic {', '.join(sorted(self._missing))} is not there: its records wait until it is made again",
        )
