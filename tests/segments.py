"""Damage in the log of a broker: what a broken disk leaves, and no producer can write."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from streams.sandbox.kafka import EmbeddedKafka

#: A batch's base offset, and the length of what follows.
_PLACE = struct.Struct(">qi")
#: Bytes of a batch's header.
HEADER = 61


class Batch(NamedTuple):
    """One batch of a partition's log."""

    first: int  # offset
    last: int  # offset
    begin: int  # in the file
    end: int


def segment(kafka: EmbeddedKafka, topic: str, partition: int = 0) -> Path:
    """Return the first segment file of a partition."""
    return kafka.folder / "broker-1" / "data" / f"{topic}-{partition}" / f"{0:020}.log"


def batches(log: Path) -> list[Batch]:
    """Return the batches in a segment file."""
    raw, found, at = log.read_bytes(), [], 0
    while at + HEADER <= len(raw):
        first, length = _PLACE.unpack_from(raw, at)
        if length <= 0:
            break  # what the broker has reserved and not written
        (distance,) = struct.unpack_from(">i", raw, at + 23)
        found.append(Batch(first, first + distance, at, at + _PLACE.size + length))
        at += _PLACE.size + length
    return found


def damage(log: Path, number: int, how: Callable[[bytearray], None]) -> Batch:
    """Change the bytes of a batch, in place: the broker does not look at what it sends."""
    batch = batches(log)[number]
    with log.open("r+b") as file:
        file.seek(batch.begin)
        raw = bytearray(file.read(batch.end - batch.begin))
        how(raw)
        file.seek(batch.begin)
        file.write(raw)
    return batch


def flip_last(raw: bytearray) -> None:
    """Damage the last byte of the batch's records."""
    raw[-1] ^= 0x5A


def wrong_length(raw: bytearray) -> None:
    """Damage the length: where the next batch begins is not known."""
    struct.pack_into(">i", raw, 8, 1 << 20)


def no_length(raw: bytearray) -> None:
    """Damage the length so that no batch can have it."""
    struct.pack_into(">i", raw, 8, 0)
