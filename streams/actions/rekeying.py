"""Actions that lie in the wrong partition, on their way into the right one.

A bridge that keys by actionId, or not at all, or a producer with another partitioner puts an action where its
supporter's status is not. Such an action goes through an internal topic once, keyed by ``orgId:contactRef``,
in the same transaction as its input offset. Its email is made from there, under the identity of its first
place, so that nothing else about it differs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from streams.delivery.results import Record
from streams.delivery.transaction import Outgoing
from streams.messages.keys import partition_of

#: Header of a re-keyed action: "partition/offset" of its place in the actions topic, or
#: "partition/offset?epoch=number" where the epoch is not 0.
REKEYED_FROM = "rekeyed-from"
#: Header of a re-keyed action: its timestamp in the actions topic, in milliseconds. The re-keyed record has
#: the time of its writing: a broker may refuse a record whose timestamp is too old or in the future.
REKEYED_TIMESTAMP = "rekeyed-timestamp"
#: Both of them: no part of the action itself.
REKEYED_HEADERS = (REKEYED_FROM, REKEYED_TIMESTAMP)

# Kafka's numbers: a partition has 31 bits, an offset and a timestamp have 63.
_FROM = re.compile(rb"(0|[1-9][0-9]{0,9})/(0|[1-9][0-9]{0,18})(?:\?epoch=([1-9][0-9]{0,9}))?")
_TIMESTAMP = re.compile(rb"-?[0-9]{1,19}")
_PARTITIONS, _OFFSETS = 1 << 31, 1 << 63


class FirstPlace(NamedTuple):
    """Where a re-keyed action lies in the actions topic."""

    partition: int
    offset: int
    epoch: int = 0


class RekeyedRecord(NamedTuple):
    """A record of the internal topic, with the timestamp that it had in the actions topic."""

    offset: int
    timestamp: int  # milliseconds since the epoch
    key: bytes | None
    value: bytes | None
    headers: Iterable[tuple[str, bytes | None]]


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

    def outgoing(self, record: Record, key: bytes, epoch: int = 0) -> Outgoing:
        """Return the action, read in this epoch, as it goes into the internal topic.

        It keeps its bytes and headers.
        """
        headers = [
            *record.headers,
            (
                REKEYED_FROM,
                b"%d/%d" % (self._partition, record.offset) + (b"?epoch=%d" % epoch if epoch else b""),
            ),
            (REKEYED_TIMESTAMP, b"%d" % record.timestamp),
        ]
        return Outgoing(
            self._topic,
            key,
            record.value,
            headers,
            partition=partition_of(key, self._partitions),
        )


def rekeyed_from(record: Record) -> FirstPlace | None:
    """Return where a re-keyed action lies in the actions topic; None: we did not write it."""
    found = _FROM.fullmatch(_last(record, REKEYED_FROM))
    if found is None:
        return None
    place = FirstPlace(int(found[1]), int(found[2]), int(found[3] or 0))
    return place if place.partition < _PARTITIONS and place.offset < _OFFSETS else None


def with_first_timestamp(record: Record) -> Record:
    """Return a record of the internal topic with the timestamp of its action, if a header says that."""
    found = _TIMESTAMP.fullmatch(_last(record, REKEYED_TIMESTAMP))
    if found is None:
        return record
    return RekeyedRecord(record.offset, int(found[0]), record.key, record.value, record.headers)


def _last(record: Record, name: str) -> bytes:
    """The last header of a name: the action may have come with one of the same name."""
    return dict(record.headers).get(name) or b""
