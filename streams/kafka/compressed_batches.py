"""Inflates the records of compressed batches (format 2), in bounded memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import cramjam
from aiokafka.codec import _detect_xerial_stream
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy

#: Bytes to which a batch may inflate. A producer's batch has about 1 MB before it is compressed, and a topic
#: takes 1 MB after that; a worker has a few hundred MB for all of its partitions.
MOST_INFLATED = 64 << 20
#: The first fields of a batch: its base offset (8 bytes), and the length of what follows these 12 bytes.
PLACE = struct.Struct(">qi")
#: Behind the CRC: attributes (the lowest three bits are the codec), and the last record's offset less the
#: batch's.
ATTRIBUTES = struct.Struct(">hi")
_CODEC_BITS, _CONTROL_BIT = 0b111, 0b100000
#: The CRC covers a batch from this byte on.
CRC_COVERS_FROM = 21
#: The records of a batch lie behind its header (format 2).
HEADER_BYTES = 61
_SNAPPY = 2
#: Bytes of the header of a stream of Snappy blocks.
_XERIAL_BYTES = 16
#: By number of the codec: what inflates it, and to how many bytes one byte can come; None: to any number.
_INFLATERS: dict[int, tuple[Any, int | None]] = {
    1: (cramjam.gzip.decompress_into, 1_033),
    3: (cramjam.lz4.decompress_into, 256),
    4: (cramjam.zstd.decompress_into, None),
}


class BatchTooLarge(CorruptRecordException):  # type: ignore[misc]  # aiokafka ships no types
    """A compressed batch inflates to more than it may, or what is compressed is malformed."""


def inflated_batch(raw: memoryview, most: int = MOST_INFLATED) -> memoryview:
    """Return a batch without compression where inflating it might need too much; else the batch as it is.

    Raises:
        BatchTooLarge: it does not inflate to at most `most` bytes.
        Exception: what is compressed is malformed.
    """
    attributes = ATTRIBUTES.unpack_from(raw, CRC_COVERS_FROM)[0]
    codec, compressed = attributes & _CODEC_BITS, raw[HEADER_BYTES:]
    if codec == _SNAPPY and _snappy_size(compressed) > most:
        raise BatchTooLarge
    inflate, most_times = _INFLATERS.get(codec, (None, None))
    if inflate is None or (most_times is not None and len(compressed) * most_times <= most):
        return raw
    room = min(max(1 << 20, 8 * len(compressed)), most)
    while True:
        inflated = bytearray(HEADER_BYTES + room)
        try:
            size = inflate(compressed, memoryview(inflated)[HEADER_BYTES:])
            break
        except cramjam.DecompressionError:
            del inflated  # before the next one is made
            if room == most:
                raise BatchTooLarge from None
            room = min(4 * room, most)
    inflated[:HEADER_BYTES] = raw[:HEADER_BYTES]
    PLACE.pack_into(inflated, 0, PLACE.unpack_from(raw)[0], HEADER_BYTES - PLACE.size + size)
    struct.pack_into(">h", inflated, CRC_COVERS_FROM, attributes & ~_CODEC_BITS)
    return memoryview(inflated)[: HEADER_BYTES + size]


def compressed_batches(buffer: bytes) -> Iterator[tuple[int, int]]:
    """Give where each whole compressed batch with records begins and ends; all batches have to be sound."""
    begin = 0
    while begin + HEADER_BYTES <= len(buffer):
        end = begin + PLACE.size + PLACE.unpack_from(buffer, begin)[1]
        attributes = ATTRIBUTES.unpack_from(buffer, begin + CRC_COVERS_FROM)[0]
        if end <= len(buffer) and attributes & _CODEC_BITS and not attributes & _CONTROL_BIT:
            yield begin, end
        begin = end


def inflated_records(raw: memoryview, most: int = MOST_INFLATED) -> memoryview:
    """Return the records of a compressed batch without compression.

    Raises:
        BatchTooLarge: they do not inflate to at most `most` bytes.
        Exception: what is compressed is malformed.
    """
    inflated = inflated_batch(raw, most)
    if inflated is not raw:
        return inflated[HEADER_BYTES:]
    batch = _DefaultRecordBatchPy(raw)
    batch._maybe_uncompress()
    return memoryview(batch._buffer)


def _snappy_size(compressed: memoryview) -> int:
    """Return the bytes to which Snappy's blocks inflate, as each of them says itself."""
    if not _detect_xerial_stream(compressed):
        return int(cramjam.snappy.decompress_raw_len(compressed))
    size, at = 0, _XERIAL_BYTES
    while at < len(compressed):
        (length,) = struct.unpack_from(">i", compressed, at)
        if length < 0:
            raise ValueError("a block's length is below zero")  # and would be read for ever
        size += cramjam.snappy.decompress_raw_len(compressed[at + 4 : at + 4 + length])
        at += 4 + length
    return size
