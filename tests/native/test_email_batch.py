"""Batches of emails are what aiokafka's builder makes of the same records."""

from __future__ import annotations

from aiokafka.producer.message_accumulator import BatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from streams.native.email_batch import EmailBatch
from tests.native.built import NOW_MS, library

records = st.tuples(
    st.none() | st.binary(max_size=200),
    st.none() | st.binary(max_size=400),
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8"), max_size=70), st.none() | st.binary(max_size=70))
    ),
    st.integers(NOW_MS - 9_000, NOW_MS + 9_000),
)


@given(
    st.lists(records, min_size=1, max_size=80),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**15 - 1),
    st.integers(0, 2**31 - 1),
)
def test_a_sealed_batch_is_the_one_that_aiokafka_builds(
    appended: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]], int]],
    producer_id: int,
    epoch: int,
    sequence: int,
) -> None:
    """Byte for byte, whatever is null, empty or long, and for every producer."""
    batch = EmailBatch(library(), 1 << 20)
    theirs = BatchBuilder(1 << 20, 0, is_transactional=True)
    for key, value, headers, timestamp in appended:
        assert batch.append(key, value, headers, timestamp)
        theirs.append(timestamp=timestamp, key=key, value=value, headers=headers)
    theirs._set_producer_state(producer_id, epoch, sequence)
    theirs.close()
    assert bytes(batch.sealed(producer_id, epoch, sequence)) == bytes(theirs._build())
    assert (batch.count, batch.size) == (len(appended), theirs.size())


def test_what_has_no_room_is_refused_and_leaves_the_batch_as_it_was() -> None:
    """A record that does not fit is not written; a smaller one still is."""
    batch = EmailBatch(library(), 200)
    assert batch.append(b"k", b"v", [], NOW_MS)
    before = bytes(batch.sealed(1, 1, 1))
    assert not batch.append(b"k", b"v" * 200, [], NOW_MS)
    assert not batch.append(b"k" * 201, b"v", [], NOW_MS)
    assert bytes(batch.sealed(1, 1, 1)) == before
    assert batch.append(b"k", b"w", [], NOW_MS)
    assert batch.count == 2


def test_the_last_byte_of_the_room_is_used() -> None:
    """A batch of exactly the room's size is taken, and one of a byte more is not."""
    batch = EmailBatch(library(), 1 << 16)
    assert batch.append(b"k", b"v" * 500, [("a", b"b")], NOW_MS)
    exact = EmailBatch(library(), batch.size)
    assert exact.append(b"k", b"v" * 500, [("a", b"b")], NOW_MS)
    assert not EmailBatch(library(), batch.size - 1).append(b"k", b"v" * 500, [("a", b"b")], NOW_MS)


def test_a_batch_can_be_sealed_for_another_producer_and_used_again() -> None:
    """After a failed transaction the same emails go out in another epoch; then the memory is used again."""
    batch = EmailBatch(library(), 1 << 16)
    batch.append(None, b"v", [], NOW_MS)
    first = bytes(batch.sealed(5, 0, 0))
    assert bytes(batch.sealed(5, 1, 0)) != first
    assert bytes(batch.sealed(5, 0, 0)) == first
    batch.clear()
    assert (batch.count, batch.size) == (0, 0)
    batch.append(None, b"v", [], NOW_MS)
    assert bytes(batch.sealed(5, 0, 0)) == first
