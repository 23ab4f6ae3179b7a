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


def batches(cluster: Path, log: str) -> Iterator[Batch]:
    """All batches of a log, which is called topic-partition; of several logs if that is a pattern."""
    for segment in sorted(cluster.rglob(f"{log}/*.log")):
        content = segment.read_bytes()
        at = 0
        while at + _HEAD.size <= len(content):
            _, length, _, magic, _, attributes, _, _, _, producer_id = _HEAD.unpack_from(content, at)
            if length == 0:  # a segment that is laid out in advance ends in zeros
                break
            assert magic == 2
            codec = CODECS[attributes & 0b111]
            yield Batch(producer_id, codec, bool(attributes & 0b10000), bool(attributes & 0b100000))
            at += _BEFORE_LENGTH_COUNTS + length
