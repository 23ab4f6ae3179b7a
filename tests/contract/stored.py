"""What a topic's batches look like on the broker's disk, read from its log segments themselves.

The form of a batch's head: https://kafka.apache.org/documentation/#recordbatch
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Base offset, length, leader epoch, magic, CRC, attributes, last offset's delta, two timestamps, producer id.
_HEAD = struct.Struct(">qiibIhiqqq")
_BEFORE_LENGTH_COUNTS = 12  # bytes
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class Batch(NamedTuple):
    """How one batch of a log segment was written."""

    producer_id: int
    codec: str
    transactional: bool
    control: bool


class Place(NamedTuple):
    """Where one batch lies."""

    first: int  # offset
    last: int  # offset
    begin: int  # in the file
    end: int


def batches(cluster: Path, log: str) -> Iterator[Batch]:
    """All batches of a log, which is called topic-partition; of several logs if that is a pattern."""
    return (batch for segment in sorted(cluster.rglob(f"{log}/*.log")) for batch, _ in placed(segment))


def placed(segment: Path) -> Iterator[tuple[Batch, Place]]:
    """All batches of one segment file, and where they lie."""
    content = segment.read_bytes()
    at = 0
    while at + _HEAD.size <= len(content):
        first, length, _, magic, _, attributes, delta, _, _, producer_id = _HEAD.unpack_from(content, at)
        if length == 0:  # a segment that is laid out in advance ends in zeros
            break
        assert magic == 2
        codec = CODECS[attributes & 0b111]
        end = at + _BEFORE_LENGTH_COUNTS + length
        batch = Batch(producer_id, codec, bool(attributes & 0b10000), bool(attributes & 0b100000))
        yield batch, Place(first, first + delta, at, end)
        at = end
