"""What a consumer has fetched, as a whole."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.record.util import calc_crc32c

from streams.delivery.fetched import Fetched
from streams.kafka.compressed_batches import compressed_batches
from streams.native.fetches import MOST_INFLATED, Gathering, records_in
from tests.fuzz.mutations import Sent
from tests.fuzz.wire import batches
from tests.native.both_paths import unpacked
from tests.native.built import library
from tests.native.test_email_pass import marker

AT = 1_780_000_000_000
PLACE = TopicPartition("actions", 3)


def log(*values: bytes | None, first: int = 10, most: int = 2, codec: int = 0) -> bytes:
    return batches([Sent(AT + at, b"k", value, []) for at, value in enumerate(values)], first, codec, most)


def gathered(raw: bytes, offset: int = 0, aborted: Any = ()) -> Fetched | None:
    return Gathering(library())(raw, aborted, offset)


@pytest.mark.parametrize("codec", range(5))
def test_a_fetch_knows_its_offsets_its_records_and_its_earliest_timestamp(codec: int) -> None:
    """It stands for all offsets up to its last one; what lies below the fetched offset does not count."""
    raw = log(b"a", b"b", b"c", codec=codec)
    whole, rest = gathered(raw), gathered(raw, 12)
    assert whole is not None
    assert rest is not None
    assert (whole.first_offset, whole.offset, whole.count, whole.timestamp) == (0, 12, 3, AT)
    assert (rest.first_offset, rest.offset, rest.count, rest.timestamp) == (12, 12, 1, AT + 2)
    assert [record.value for record in records_in(whole, PLACE, 11)] == [b"b", b"c"]


def test_a_last_batch_that_is_cut_off_is_left_to_the_next_fetch() -> None:
    """As brokers send it; a first one that seems to be cut off is damaged."""
    raw = log(b"a", b"b", b"c")
    fetched = gathered(raw[:-1])
    assert fetched is not None
    assert (fetched.offset, fetched.count) == (11, 2)
    assert gathered(raw[:30]) is None
    assert gathered(b"") is None


def test_a_fetch_with_a_batch_that_is_not_sound_is_read_record_by_record() -> None:
    """A wrong checksum, an unknown format, or an offset that goes back: anywhere in the fetch."""
    raw = log(b"a", b"b", b"c")
    for at in range(len(raw)):
        damaged = bytearray(raw)
        damaged[at] ^= 0x40
        fetched = gathered(bytes(damaged))
        if fetched is not None:  # the leader's epoch, or an offset: no checksum covers them
            expected = unpacked(bytes(damaged), ())
            expected.with_stand_ins = True
            list(expected)
            assert fetched.offset + 1 == expected.next_fetch_offset, at


def test_the_end_of_a_transaction_is_no_record() -> None:
    """A fetch that has only markers stands for nothing; the next fetch begins behind it."""
    fetched = gathered(marker(5, 7, 1))
    assert fetched is not None
    assert (fetched.offset, fetched.count) == (5, 0)


@pytest.mark.parametrize("codec", range(1, 5))
def test_what_is_compressed_is_inflated_before_a_lane_has_it(codec: int) -> None:
    """The consumer's thread does it. A fetch that is malformed, or inflates to too much, comes as records."""
    raw = log(b"a", b"b" * 100, b"c" * 100, codec=codec)
    fetched = gathered(raw)
    assert fetched is not None
    assert list(fetched.inflated) == [begin for begin, _ in compressed_batches(raw)]
    assert len(fetched.inflated) == 2
    assert b"b" * 100 in next(iter(fetched.inflated.values()))
    most = log(*[b"x" * (MOST_INFLATED // 4 - 100)] * 4, codec=codec, most=1)
    assert gathered(most) is not None
    assert gathered(most + log(b"x" * 1_000, first=14, codec=codec)) is None
    assert gathered(bent(raw)) is None


def bent(raw: bytes) -> bytes:
    """The last batch with other compressed bytes, under a checksum that is right."""
    *_, (begin, end) = compressed_batches(raw)
    batch = bytearray(raw[begin:end])
    batch[61:] = bytes(len(batch) - 61)
    batch[17:21] = calc_crc32c(bytes(batch[21:])).to_bytes(4, "big")
    return raw[:begin] + bytes(batch)
