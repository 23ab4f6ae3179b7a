"""How far behind a worker is, and since when: its partitions' lag, and the oldest action in each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from streams.delivery.timestamps import is_known

#: A partition: its topic and number.
TopicPartitionName = tuple[str, int]


class LaneView(Protocol):
    """What is to be seen of a partition's lane; ``streams.delivery.lane.Lane``."""

    @property
    def partition(self) -> int:
        """Number of the partition."""

    @property
    def committed(self) -> int:
        """The offset that the broker has."""

    @property
    def oldest_timestamp_ms(self) -> int | None:
        """The earliest timestamp, in ms, of what it holds."""

    @property
    def has_work(self) -> bool:
        """Whether it holds anything."""


class LaneSet(Protocol):
    """The lanes of one topic; ``streams.delivery.lanes.Lanes``."""

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the open ones."""

    @property
    def opening(self) -> dict[int, str]:
        """Return the partitions whose lanes are not open, with why not."""


class PartitionLags:
    """Looks when asked. All is about the partitions that the group has given to this worker."""

    def __init__(
        self,
        lanes: Callable[[], Iterable[tuple[str, LaneSet]]],
        fetch_position: Callable[[str, int], tuple[int, int] | None],
        now: Callable[[], float],
        kafka_answers: Callable[[], bool],
    ) -> None:
        """Look at these.

        Args:
            lanes: gives each topic with its lanes.
            fetch_position: gives a partition's end and the offset up to which it was fetched; None if not
                known yet.
            now: wall clock, seconds since the epoch.
            kafka_answers: whether Kafka answers. While it does not, the ends of the partitions are those of
                before: what is in them now is not known.
        """
        self._lanes = lanes
        self._fetch_position = fetch_position
        self._now = now
        self._kafka_answers = kafka_answers
        self._seen: dict[
            TopicPartitionName, float
        ] = {}  # when something that nobody has read yet was first seen to wait

    def lags(self) -> list[tuple[tuple[str, str], int]]:
        """Return the offsets between the committed one and the end, by topic and partition, where known."""
        return [((topic, str(number)), lag) for (topic, number), _, lag in self._look() if lag is not None]

    def waiting_since(self) -> list[tuple[tuple[str, str], float]]:
        """Return since when, in seconds since the epoch, the oldest action of each partition has waited.

        Partitions where nothing waits are left out.
        """
        return [
            ((topic, str(number)), since)
            for (topic, number), (_, since) in self.look().items()
            if since is not None
        ]

    def look(self) -> dict[TopicPartitionName, tuple[int | None, float | None]]:
        """Return lag, and since when the oldest action has waited, of each partition.

        The lag is None where it is not known. The moment, in seconds since the epoch, is None where nothing
        waits. It is the action's own timestamp, if the lane holds it and the timestamp can be true. All else
        has waited at least since this saw it first: what lies in the log unread (the lane cannot open, or may
        not take it before the statuses are read).
        """
        seen: dict[TopicPartitionName, float] = {}
        found: dict[TopicPartitionName, tuple[int | None, float | None]] = {}
        now = self._now()
        for topic_partition, lane, lag in self._look():
            held = None if lane is None else lane.oldest_timestamp_ms
            if held is not None and not is_known(held, now):
                held = None
            # What nobody had read when Kafka fell silent still waits.
            if held is None and (lag or (lag is None and topic_partition in self._seen)):
                seen[topic_partition] = self._seen.get(topic_partition, now)
            found[topic_partition] = lag, seen.get(topic_partition) if held is None else held / 1000
        self._seen = seen
        return found

    def _look(self) -> Iterator[tuple[TopicPartitionName, LaneView | None, int | None]]:
        known = self._kafka_answers()
        for topic, lanes in self._lanes():
            for lane in lanes:
                yield (topic, lane.partition), lane, self._lag(topic, lane.partition, lane) if known else None
            for number in lanes.opening:
                yield (topic, number), None, self._lag(topic, number, None) if known else None

    def _lag(self, topic: str, number: int, lane: LaneView | None) -> int | None:
        fetch_position = self._fetch_position(topic, number)
        if fetch_position is None:
            return None
        end, fetched = fetch_position
        # Behind the last record there may be a transaction's marker, which nobody commits.
        if fetched >= end and (lane is None or not lane.has_work):
            return 0
        return max(0, end - (fetched if lane is None else lane.committed))
