"""Reads every record batch that can be read, in bounded memory, and lets no other one stop the reader.

This is the one place in which what aiokafka does to fetched batches is replaced:

- It decodes a header's name strictly: one name that is not UTF-8 raised an error, and nobody could read that
  partition any further. Here such a name becomes a text in which each byte that is not UTF-8 is a lone
  surrogate (``surrogateescape`` of PEP 383), so that whoever writes the name again
  (:mod:`streams.delivery.batches`) writes the same bytes.
- It inflates a compressed batch, whatever size that comes to: 300 kB of gzip became 1 GB of memory. Here the
  size is bounded before the bytes are made.
- A damaged batch raises an error that ends the reading of all partitions. Here one
  :class:`~streams.messages.unreadable.UnreadableRecords` stands for it. Who has asked for stand-ins
  (:mod:`streams.kafka.fetching`) reads it among the records; for anybody else it is an error that says where.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c, decode_varint_py

from streams.kafka.compressed_batches import (
    ATTRIBUTES,
    CRC_COVERS_FROM,
    HEADER_BYTES,
    MOST_INFLATED,
    PLACE,
    BatchTooLarge,
    inflated_batch,
)
from streams.messages.unreadable import UnreadableRecords

#: The record format behind the leader epoch (4 bytes), and the CRC of all that follows.
_FORMAT = struct.Struct(">4xbI")
_FORMAT_AT, _COUNT_AT = 12, 57
#: The first record format with headers.
_WITH_HEADERS = 2


class UnreadableBatch(CorruptRecordException):  # type: ignore[misc]  # aiokafka ships no types
    """A batch cannot be read. The text says where it is, and why."""


def read_any_batch() -> None:
    """Let every aiokafka consumer of this process read batches as this module says."""
    fetcher.MemoryRecords = _Batches
    fetcher.PartitionRecords = PartitionRecords


def batches_behind(buffer: bytes, offset: int) -> _Batches:
    """Return what an answer has from `offset` on, which the broker does not send; at least a stand-in.

    Args:
        buffer: the answer to a fetch from an earlier offset, with batches that were read before.
        offset: in no batch that can be read.
    """
    earlier, at = MemoryRecords(buffer), 0
    with suppress(Exception):  # at the damaged batch
        while (batch := earlier.next_batch()).validate_crc() and batch.next_offset <= offset:
            at += PLACE.size + PLACE.unpack_from(buffer, at)[1]
    batches = _Batches(buffer[at:])
    batches.reaches = offset
    return batches


def batches_from(buffer: bytes, begin: int) -> _Batches:
    """Return the batches of an answer from byte `begin` on; those before were read otherwise."""
    batches = _Batches(buffer)
    batches._go_on_at(begin)
    return batches


class PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka ships no types
    """The records of one partition in a fetch response."""

    #: Whether stand-ins are handed over, instead of an error.
    with_stand_ins = False

    def __init__(self, tp: Any, batches: _Batches, aborted: Any, fetch_offset: int, *rest: Any) -> None:
        """Take what aiokafka's class takes."""
        batches.next_offset = fetch_offset
        super().__init__(tp, batches, aborted, fetch_offset, *rest)

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        if type(record) is not UnreadableRecords:
            return super()._consumer_record(tp, record)
        if not self.with_stand_ins:
            raise UnreadableBatch(f"{record.place(tp.topic, tp.partition)} cannot be read: {record.reason}")
        return record


class _Batches:
    """The batches of one partition in a fetch response; in the place of aiokafka's ``MemoryRecords``."""

    def __init__(self, buffer: bytes) -> None:
        self._buffer = buffer
        self._go_on_at(0)
        self.size_in_bytes = self._records.size_in_bytes
        self.next_offset = 0  # of the next batch, or within it
        self.reaches = -1  # what lies up to this offset is not to be had otherwise

    def _go_on_at(self, begin: int) -> None:
        self._begin = begin  # of the next batch in the buffer
        self._records = MemoryRecords(self._buffer[begin:] if begin else self._buffer)

    def has_next(self) -> bool:
        # A broker sends the whole of the first batch (KIP-74): if it seems to end beyond the answer, its
        # length is damaged. A later batch may be cut off, and is the first one of the next answer.
        cut_off = self._begin == 0 and bool(self._buffer)
        return bool(self._records.has_next()) or cut_off or self.next_offset <= self.reaches

    def next_batch(self) -> Any:
        begin = self._begin
        batch, sound = None, False
        with suppress(Exception):  # whatever a damaged header makes of aiokafka's reader
            batch = self._records.next_batch()
            sound = batch is not None and batch.validate_crc()
        if not sound:
            return self._stand_in(begin, "its header" if batch is None else "its checksum (CRC-32C)")
        assert batch is not None, "is sound"
        self._begin += PLACE.size + PLACE.unpack_from(self._buffer, begin)[1]
        self.next_offset = batch.next_offset
        if batch.magic < _WITH_HEADERS or batch.is_control_batch:
            return batch
        return _Batch(batch, memoryview(self._buffer)[begin : self._begin])

    def _stand_in(self, begin: int, part: str) -> _StandIn:
        """Pass over what cannot be read, up to the next batch that can be, if the answer has one."""
        first = self.next_offset
        at, end = self._next_sound_batch(begin) or (len(self._buffer), self._claimed_end(begin))
        # Where even that is not known, the rest of the batch is read as unreadable with the next answer.
        self.next_offset = max(end, first + 1)
        self._go_on_at(at)
        return _StandIn(UnreadableRecords(first, self.next_offset - 1, f"{part} is wrong"))

    def _next_sound_batch(self, begin: int) -> tuple[int, int] | None:
        """Return where in the buffer the next readable batch begins, and its first offset."""
        if begin + PLACE.size > len(self._buffer):
            return None
        natural = begin + PLACE.size + PLACE.unpack_from(self._buffer, begin)[1]
        for at in chain((natural,), self._formats(begin + 1)):
            if at > begin and (offset := self._sound_at(at)) is not None:
                return at, offset
        return None

    def _formats(self, begin: int) -> Iterator[int]:
        """Give the places from `begin` on at which the format of a batch would be right."""
        mark = bytes([_WITH_HEADERS])
        at = self._buffer.find(mark, begin + CRC_COVERS_FROM - 5)
        while at >= 0:
            yield at - (CRC_COVERS_FROM - 5)
            at = self._buffer.find(mark, at + 1)

    def _sound_at(self, at: int) -> int | None:
        """Return the base offset of the whole batch behind the next offset that begins here, or None."""
        if at + HEADER_BYTES > len(self._buffer):
            return None
        offset, length = PLACE.unpack_from(self._buffer, at)
        end = at + PLACE.size + length
        if offset <= self.next_offset or end > len(self._buffer) or length < HEADER_BYTES - PLACE.size:
            return None
        record_format, checksum = _FORMAT.unpack_from(self._buffer, at + _FORMAT_AT)
        if record_format != _WITH_HEADERS:
            return None
        covered = memoryview(self._buffer)[at + CRC_COVERS_FROM : end]
        return int(offset) if calc_crc32c(covered) == checksum else None

    def _claimed_end(self, begin: int) -> int:
        """Return the offset after the batch's last one if its header agrees with itself, else 0."""
        if begin + HEADER_BYTES > len(self._buffer):
            return 0
        offset = PLACE.unpack_from(self._buffer, begin)[0]
        distance = ATTRIBUTES.unpack_from(self._buffer, begin + CRC_COVERS_FROM)[1]
        (count,) = struct.unpack_from(">i", self._buffer, begin + _COUNT_AT)
        return int(offset + distance + 1) if distance == count - 1 >= 0 else 0


class _Batch:
    """A batch whose records are unpacked all at once, by aiokafka's fast reader if that can read them."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def validate_crc(self) -> bool:
        """Return True: it was computed before."""
        return True

    def __iter__(self) -> Iterator[Any]:
        try:
            return iter(self._unpacked())
        except BatchTooLarge:
            reason = f"it does not inflate to at most {MOST_INFLATED >> 20} MiB"
        except Exception:  # the producer's fault: the checksum is right, and what it covers is no batch
            reason = "its records are malformed"
        first = self._batch.base_offset
        return iter((UnreadableRecords(first, max(first, self._batch.next_offset - 1), reason),))

    def _unpacked(self) -> list[Any]:
        """Return the records.

        Raises:
            BatchTooLarge: they come to more than `MOST_INFLATED` bytes.
            Exception: they are malformed.
        """
        raw = inflated_batch(self._raw)
        try:
            return list(self._batch if raw is self._raw else DefaultRecordBatch(raw))
        except UnicodeDecodeError:
            batch = _SlowBatch(raw)
            batch._maybe_uncompress()
            batch._buffer = _LenientBytes(batch._buffer)
            return list(batch)


class _StandIn:
    """A batch of one record, which stands for those that cannot be read."""

    is_control_batch = is_transactional = False
    producer_id = None
    magic = _WITH_HEADERS

    def __init__(self, record: UnreadableRecords) -> None:
        self._record = record
        self.base_offset = record.first_offset
        self.next_offset = record.offset + 1

    def validate_crc(self) -> bool:
        """Return True: whoever reads on is told."""
        return True

    def __iter__(self) -> Iterator[UnreadableRecords]:
        return iter((self._record,))


class _SlowBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # aiokafka ships no types
    """aiokafka's slow reader, which takes its numbers from within the batch.

    By itself it has compiled code read them, which knows no end: where a length is wrong, the process ends.
    """

    def _read_msg(self) -> Any:
        return super()._read_msg(decode_varint_py)


class _LenientBytes(bytearray):
    """Bytes whose slices are decoded without an error. aiokafka's slow reader decodes header names only."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _LenientBytes(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return super().decode(encoding, errors)
