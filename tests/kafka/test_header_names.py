"""Header names that are not UTF-8, read by aiokafka's consumer."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchBuilderPy

from streams.kafka.header_names import read_any_header_name

ODD = "n\udce4me"
PLAIN = 0
GZIP = 1


class RawName(str):
    """A name that a builder of aiokafka's writes as it is."""

    def encode(self, *_: Any) -> bytes:
        return super().encode("utf-8", "surrogateescape")


def batch(first: int, *headers: list[tuple[str, Any]], builder: Any, compression: int) -> bytes:
    made = builder(
        2,
        compression,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=0,
        batch_size=1 << 20,
    )
    for index, each in enumerate(headers):
        made.append(index, 5, key=b"k", value=b"%d" % (first + index), headers=each)
    raw = bytearray(made.build())
    struct.pack_into(">q", raw, 0, first)  # outside the part that the CRC covers
    return bytes(raw)


def read(raw: bytes, begin: int = 0) -> list[tuple[int, bytes, list[tuple[str, Any]]]]:
    """What a consumer reads that has its own way to unpack a fetch response."""
    read_any_header_name()
    records = fetcher.PartitionRecords(
        TopicPartition("actions", 0),
        fetcher.MemoryRecords(raw),
        None,
        begin,
        None,
        None,
        True,
        "read_committed",
    )
    return [(record.offset, record.value, list(record.headers)) for record in records]


@pytest.mark.parametrize("compression", [PLAIN, GZIP])
def test_a_name_that_is_not_utf_8_hides_no_record(compression: int) -> None:
    """Its bytes are kept as lone surrogates; the records of its batch and of others are read as ever."""
    usual: list[tuple[str, Any]] = [("ä", b"1"), ("", None), ("a", b"")]
    odd: list[tuple[str, Any]] = [("a", b"1"), (RawName(ODD), None)]
    raw = (
        batch(0, usual, usual, builder=DefaultRecordBatchBuilder, compression=compression)
        + batch(2, usual, odd, usual, builder=_DefaultRecordBatchBuilderPy, compression=compression)
        + batch(9, usual, builder=DefaultRecordBatchBuilder, compression=compression)
    )
    found = read(raw)
    assert [offset for offset, _, _ in found] == [0, 1, 2, 3, 4, 9]
    assert [value for _, value, _ in found] == [b"%d" % offset for offset, _, _ in found]
    assert [headers for _, _, headers in found] == [
        usual,
        usual,
        usual,
        [("a", b"1"), (ODD, None)],
        usual,
        usual,
    ]
    middle = batch(2, usual, odd, usual, builder=_DefaultRecordBatchBuilderPy, compression=compression)
    assert [offset for offset, _, _ in read(middle, begin=3)] == [3, 4]


def test_a_damaged_batch_is_still_an_error() -> None:
    """Only names are read leniently."""
    raw = bytearray(batch(0, [("a", b"1")], builder=DefaultRecordBatchBuilder, compression=PLAIN))
    raw[-1] ^= 1
    with pytest.raises(CorruptRecordException):
        read(bytes(raw))
