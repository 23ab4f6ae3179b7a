"""Damage in the log of a broker: what a broken disk leaves, and no producer can write."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from streams.sandbox.kafka import EmbeddedKafka
from tests.contract.stored import Place, placed


def segment(kafka: EmbeddedKafka, topic: str) -> Path:
    """Return the first segment file of partition 0."""
    return kafka.folder / "broker-1" / "data" / f"{topic}-0" / f"{0:020}.log"


def damage(log: Path, number: int, how: Callable[[bytearray], None]) -> Place:
    """Change the bytes of a batch, in place: the broker does not look at what it sends."""
    place = [place for _, place in placed(log)][number]
    with log.open("r+b") as file:
        file.seek(place.begin)
        raw = bytearray(file.read(place.end - place.begin))
        how(raw)
        file.seek(place.begin)
        file.write(raw)
    return place


def flip_last(raw: bytearray) -> None:
    """Damage the last byte of the batch's records."""
    raw[-1] ^= 0x5A


def wrong_length(raw: bytearray) -> None:
    """Damage the length: where the next batch begins is not known."""
    struct.pack_into(">i", raw, 8, 1 << 20)


def no_length(raw: bytearray) -> None:
    """Damage the length so that no batch can have it."""
    struct.pack_into(">i", raw, 8, 0)
