"""Strange and damaged record batches, read by aiokafka's consumer."""

from __future__ import annotations

import os
import struct
import tracemalloc
from typing import Any

import cramjam
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder, _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c

from streams.kafka.compressed_batches import MOST_INFLATED
from streams.kafka.record_batches import (
    PartitionRecords,
    UnreadableBatch,
    batches_behind,
    read_any_batch,
)
from streams.messages.unreadable import UnreadableRecords

ODD = "n\udce4me"
PLAIN, GZIP, SNAPPY, LZ4, ZSTD = range(5)


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


@pytest.fixture(autouse=True)
def usual_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each test, consumers of this process read as they did before."""
    for name in ("MemoryRecords", "PartitionRecords"):
        monkeypatch.setattr(fetcher, name, getattr(fetcher, name))
    read_any_batch()


def read(raw: bytes, begin: int = 0) -> list[tuple[int, bytes, list[tuple[str, Any]]]]:
    """What a consumer reads that has its own way to unpack a fetch response."""
    return [(record.offset, record.value, list(record.headers)) for record in unpacked(raw, begin)]


def unpacked(raw: bytes, begin: int = 0, aborted: list[tuple[int, int]] | None = None) -> Any:
    return fetcher.PartitionRecords(
        TopicPartition("actions", 0),
        fetcher.MemoryRecords(raw),
        aborted,
        begin,
        None,
        None,
        True,
        fetcher.READ_COMMITTED,
    )


def with_stand_ins(raw: bytes, begin: int = 0, aborted: list[tuple[int, int]] | None = None) -> list[Any]:
    """What the worker reads, and each command that goes on behind a batch that it cannot read."""
    records = unpacked(raw, begin, aborted)
    records.with_stand_ins = True
    return list(records)


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


def plain(first: int, count: int = 2, compression: int = PLAIN) -> bytes:
    return batch(first, *[[("a", b"1")]] * count, builder=DefaultRecordBatchBuilder, compression=compression)


def sealed(raw: bytes | bytearray) -> bytes:
    """The batch with the checksum that fits what is in it, as a strange producer sends it."""
    changed = bytearray(raw)
    struct.pack_into(">I", changed, 17, calc_crc32c(memoryview(bytes(changed[21:]))))
    return bytes(changed)


def flipped(raw: bytes, at: int) -> bytes:
    changed = bytearray(raw)
    changed[at] ^= 0x5A
    return bytes(changed)


def sized(raw: bytes, length: int) -> bytes:
    """The batch with another length in its header."""
    changed = bytearray(raw)
    struct.pack_into(">i", changed, 8, length)
    return bytes(changed)


COMPRESS = {GZIP: cramjam.gzip.compress, LZ4: cramjam.lz4.compress, ZSTD: cramjam.zstd.compress}
CHECKSUM, HEADER = "its checksum (CRC-32C) is wrong", "its header is wrong"
DAMAGES = {
    "a flipped bit": (flipped(plain(2), -1), CHECKSUM),
    "a flipped bit in the producer's id": (flipped(plain(2), 44), CHECKSUM),
    "a flipped bit in the last offset": (flipped(plain(2), 24), CHECKSUM),
    "a flipped bit in the attributes": (flipped(plain(2), 22), CHECKSUM),
    "an old format": (plain(2)[:16] + b"\x01" + plain(2)[17:], HEADER),
    "no records in it": (sealed(plain(2)[:61] + bytes(len(plain(2)) - 61)), "its records are malformed"),
    "a length of nothing": (sized(plain(2), 3), HEADER),
    "a length below zero": (sized(plain(2), -70), HEADER),
    "a length that is too short": (sized(plain(2), 52), CHECKSUM),
    "a length into the next batch": (sized(plain(2), len(plain(2))), CHECKSUM),
    "a length beyond the end": (sized(plain(2), 1 << 24), HEADER),
}


@pytest.mark.parametrize(("damaged", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_one_record_stands_for_a_batch_that_cannot_be_read(damaged: bytes, reason: str) -> None:
    """It says where and why, and what lies behind the batch is read."""
    found = with_stand_ins(damaged + plain(4), 2)
    assert found[0] == UnreadableRecords(2, 3, reason)
    assert [record.offset for record in found[1:]] == [4, 5]


@pytest.mark.parametrize("damaged", [damaged for damaged, _ in DAMAGES.values()], ids=DAMAGES)
def test_what_lies_before_a_damaged_batch_is_read(damaged: bytes) -> None:
    """The batch itself is met at once, or with the next fetch, which begins with it; or can be read here."""
    found = with_stand_ins(plain(0) + damaged + plain(4))
    assert [record.offset for record in found[:2]] == [0, 1]
    assert [record.offset for record in found[2:]] in ([3, 4, 5], [], [2, 3, 4, 5])


@pytest.mark.parametrize("damaged", [damaged for damaged, _ in DAMAGES.values()], ids=DAMAGES)
@pytest.mark.parametrize("begin", [2, 3])
def test_the_last_batch_of_an_answer_is_not_passed_over(damaged: bytes, begin: int) -> None:
    """Nor for who begins in the middle of it: each offset is in a stand-in, and no other offset is."""
    covered: list[int] = []
    while begin < 4:
        (stand_in,) = with_stand_ins(damaged, begin)
        assert stand_in.first_offset <= begin <= stand_in.offset < 4
        covered += range(begin, stand_in.offset + 1)
        begin = stand_in.offset + 1
    assert covered in ([2, 3], [3])


@pytest.mark.parametrize("damaged", [sized(plain(4), 0), sized(plain(4), 1 << 20)])
def test_an_answer_from_an_earlier_offset_shows_what_the_broker_does_not_send(damaged: bytes) -> None:
    """What was read before is not read again, and what lies behind the damage is read."""
    for raw, behind in (
        (plain(0) + plain(2) + damaged, []),
        (plain(2) + damaged + plain(6), [6, 7]),
        (b"", []),
    ):
        batches = batches_behind(raw, 5)
        tp = TopicPartition("actions", 0)
        records = PartitionRecords(tp, batches, None, 5, None, None, True, fetcher.READ_COMMITTED)
        records.with_stand_ins = True
        assert next(records) == UnreadableRecords(5, 5, "its header is wrong")
        assert [record.offset for record in records] == behind


def test_a_batch_of_an_aborted_transaction_is_nobody_s_loss() -> None:
    """Its records would be passed over, so it does not matter that they cannot be read."""
    raw = bytearray(plain(2)[:61] + bytes(len(plain(2)) - 61))
    struct.pack_into(">h", raw, 21, 0b10000)
    struct.pack_into(">q", raw, 43, 7)
    found = with_stand_ins(plain(0) + sealed(raw) + plain(4), 0, [(7, 2)])
    assert [record.offset for record in found] == [0, 1, 4, 5]


@pytest.mark.parametrize("damaged", [damaged for damaged, _ in DAMAGES.values()], ids=DAMAGES)
def test_who_asks_for_no_stand_ins_gets_an_error_with_the_place(damaged: bytes) -> None:
    """Nobody takes a batch that cannot be read for one without records."""
    with pytest.raises(UnreadableBatch, match="the records at offsets 2 to 3 of actions/0 cannot be read: "):
        read(damaged + plain(4), 2)


def test_a_reader_in_the_middle_of_a_damaged_batch_meets_it() -> None:
    """A worker that had committed a part of the batch before it was damaged does not lose the rest."""
    (found,) = with_stand_ins(sealed(plain(2)[:61] + bytes(len(plain(2)) - 61)), 3)
    assert found.offset == 3


def test_a_length_beyond_the_batch_reads_no_memory_beyond_it() -> None:
    """Behind a name that is not UTF-8, too, a stand-in is read: the process does not end by a bad access."""
    odd, usual = [(RawName(ODD), b"v")], [("a", b"v" * 9), ("b", b"")]
    raw = bytearray(batch(10, odd, usual, builder=_DefaultRecordBatchBuilderPy, compression=PLAIN))
    at = raw.index(b"\x12" + b"v" * 9)  # the value's length, and the value
    raw[at : at + 5] = b"\x80\x80\x80\x80\x08"  # a gigabyte
    assert with_stand_ins(sealed(raw)) == [UnreadableRecords(10, 11, "its records are malformed")]


def bomb(codec: int) -> bytes:
    """A batch of one record of 300 MiB, in a few kilobytes."""
    says_300_mib = b"\x80\x80\x80\x96\x01"  # as Snappy's first bytes
    compressed = says_300_mib if codec == SNAPPY else bytes(COMPRESS[codec](bytes(300 << 20)))
    raw = bytearray(plain(7, 1)[:61]) + compressed
    struct.pack_into(">i", raw, 8, len(raw) - 12)
    struct.pack_into(">h", raw, 21, codec)
    return sealed(raw)


@pytest.mark.parametrize("codec", [*COMPRESS, SNAPPY])
def test_what_a_batch_inflates_to_is_bounded_before_it_is_made(codec: int) -> None:
    """A batch of 300 MiB in a few kilobytes is named, and takes no more memory than the bound."""
    raw = bomb(codec)
    tracemalloc.start()
    try:
        found = with_stand_ins(plain(5) + raw + plain(8), 5)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [record.offset for record in found] == [5, 6, 7, 8, 9]
    assert found[2].reason == "it does not inflate to at most 64 MiB"
    assert peak < 1.2 * MOST_INFLATED
    with pytest.raises(UnreadableBatch):
        read(raw)


@pytest.mark.parametrize("codec", [PLAIN, GZIP, SNAPPY, LZ4, ZSTD])
def test_a_batch_of_every_codec_is_read_also_a_large_one(codec: int) -> None:
    """Large compressed batches are inflated by us, small ones by the client library, to the same records."""
    values = [(b"%d" % number) + os.urandom(200_000) + bytes(200_000) for number in range(4)]
    made = DefaultRecordBatchBuilder(
        2, codec, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=0, batch_size=1 << 24
    )
    for number, value in enumerate(values):
        made.append(number, 5, key=b"k", value=value, headers=[("a", b"1")])
    found = read(bytes(made.build()))
    assert found == [(number, value, [("a", b"1")]) for number, value in enumerate(values)]
