"""Record batches as producers write them, and as the worker's consumer reads them."""

import struct
from collections.abc import Iterable, Iterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from streams.kafka.record_batches import read_any_batch
from tests.fuzz.mutations import Sent

_NONE, _GZIP, _SNAPPY, _LZ4, _ZSTD = range(5)
CODECS = (_NONE, _NONE, _GZIP, _SNAPPY, _LZ4, _ZSTD)
#: Milliseconds; the timestamps of one batch are written as differences of at most 64 bits.
_APART = 1 << 61
_ROOM = 64 << 20


def batches(sent: Iterable[Sent], first: int, codec: int, most: int) -> bytes:
    """Return a partition's log from offset `first` on, in batches of at most so many records."""
    log = bytearray()
    waiting: list[Sent] = []
    for each in sent:
        if len(waiting) >= most or (waiting and abs(each.timestamp - waiting[0].timestamp) > _APART):
            log += _batch(waiting, first, codec)
            first += len(waiting)
            waiting = []
        waiting.append(each)
    return bytes(log + _batch(waiting, first, codec)) if waiting else bytes(log)


def placed(batch: bytes, first: int) -> bytes:
    """Return a batch as a broker keeps it: with the offset of its first record."""
    raw = bytearray(batch)
    struct.pack_into(">q", raw, 0, first)  # outside the part that the CRC covers
    return bytes(raw)


def read(log: bytes, topic: str = "", partition: int = 0, begin: int = 0) -> Iterator[Any]:
    """Read a log as the worker's consumer unpacks a fetch response."""
    read_any_batch()
    records = fetcher.PartitionRecords(
        TopicPartition(topic, partition),
        fetcher.MemoryRecords(log),
        None,
        begin,
        None,
        None,
        True,
        "read_committed",
    )
    records._consumer_record = lambda _, record: record
    yield from records


class _RawName(str):
    """A name that the builder writes as the bytes that it was read from."""

    def encode(self, *_: Any) -> bytes:
        return super().encode("utf-8", "surrogateescape")


def _batch(sent: list[Sent], first: int, codec: int) -> bytes:
    builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, -1, _ROOM)
    for index, (timestamp, key, value, headers) in enumerate(sent):
        named = [(_RawName(name), text) for name, text in headers]
        builder.append(index, timestamp=timestamp, key=key, value=value, headers=named)
    return placed(bytes(builder.build()), first)
