"""Actions that lie in the wrong partition, on their way into the right one.

A bridge that keys by actionId, or not at all, or a producer with another partitioner puts an action where its
supporter's status is not. Such an action goes through an internal topic once, keyed by ``orgId:contactRef``,
in the same transaction as its input offset. Its email is made from there, under the identity of its first
place, so that nothing else about it differs.
"""

from __future__ import annotations

from streams.delivery.results import Record
from streams.delivery.transaction import Outgoing
from streams.messages.keys import partition_of

#: Header of a re-keyed action: "partition/offset" of its place in the actions topic.
REKEYED_FROM = "rekeyed-from"


class Rekeying:
    """Moves actions of one partition that belong into another one."""

    def __init__(self, topic: str, partition: int, partitions: int) -> None:
        """Write to the internal `topic`; we read partition number `partition` of `partitions`."""
        self._topic = topic
        self._partition = partition
        self._partitions = partitions

    def needed(self, key: bytes) -> bool:
        """Whether an action whose key should be `key` lies where that key does not belong.

        A record that has another key, and is here by accident, is not moved.
        """
        return partition_of(key, self._partitions) != self._partition

    def outgoing(self, record: Record, key: bytes) -> Outgoing:
        """Return the action as it goes into the internal topic; it keeps its bytes, headers and timestamp."""
        headers = [*record.headers, (REKEYED_FROM, b"%d/%d" % (self._partition, record.offset))]
        return Outgoing(
            self._topic,
            key,
            record.value,
            headers,
            partition=partition_of(key, self._partitions),
            timestamp=record.timestamp,
        )


def rekeyed_from(record: Record) -> tuple[int, int]:
    """Return partition and offset of a re-keyed action in the actions topic.

    Raises:
        KeyError: it was not re-keyed by us.
    """
    partition, _, offset = dict(record.headers)[REKEYED_FROM].partition(b"/")
    return int(partition), int(offset)
