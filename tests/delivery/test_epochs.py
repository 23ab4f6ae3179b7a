"""The log that a group works on, and its epochs, beside the committed offset."""

from __future__ import annotations

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.delivery.commit_metadata import MAX_AWAITING, MAX_SPAN, METADATA_CAP, decode, encode
from streams.delivery.epochs import UNKNOWN, Epochs, cut_at, epochs_of, is_marked, log_of, marked
from streams.delivery.offset_tracker import OffsetTracker
from streams.delivery.transaction import Position
from tests.delivery.runs import runs

LOG, OTHER = 0x1FFF_FFFF_FFFF_FFFF, 7
decisions = st.lists(st.integers(0, 1 << 60), max_size=9)
cuts = st.none() | st.integers(0, 1 << 60)
settled_beyond = st.sets(st.integers(1, 200))


def decided(*offsets: int) -> Epochs:
    """The epochs of a log that was cut again and again, and gone on with at these offsets."""
    epochs = Epochs(LOG)
    for offset in offsets:
        epochs = epochs.begun(offset, LOG)
    return epochs


def read_by_8305916(committed: int, metadata: str) -> list[tuple[int, int]] | None:
    """The settled runs that the version of that commit reads; None: it refuses the metadata."""
    if not metadata:
        return []
    checksum, text = metadata[4:12], metadata[13:]
    if not metadata.startswith("cs1.") or metadata[12] != ".":
        return None
    if f"{zlib.crc32(f'{committed}.{text}'.encode()):08x}" != checksum:
        return None
    numbers, number, shift = [], 0, 0
    for byte in base64.b85decode(text):
        number |= (byte & 127) << shift
        if byte & 128:
            shift += 7
            if shift > 63:
                return None
        else:
            numbers.append(number)
            number = shift = 0
    found, previous = [], committed
    for distance, length in zip(numbers[::2], numbers[1::2], strict=True):
        if distance < 1:
            return None
        found.append((previous + distance, previous + distance + length))
        previous = found[-1][1]
    return None if shift else found


@given(st.integers(0, 1 << 60), settled_beyond, decisions, cuts)
def test_marks_are_read_as_they_were_written(
    committed: int, ahead: set[int], offsets: list[int], cut: int | None
) -> None:
    """The settled offsets beside them stay as they are; writing the same marks again changes nothing."""
    position = Position(committed, encode(committed, runs({committed + each for each in ahead})))
    epochs = decided(*offsets)._replace(cut=cut)
    written = marked(position, epochs)
    assert epochs_of(written) == epochs
    assert marked(written, epochs) == written
    assert marked(written, UNKNOWN) == position


@given(st.integers(0, 1 << 60), settled_beyond, decisions, cuts)
def test_an_earlier_version_reads_the_settled_offsets_beside_the_marks(
    committed: int, ahead: set[int], offsets: list[int], cut: int | None
) -> None:
    """It finds every settled offset, and else nothing that a log will ever reach."""
    settled = runs({committed + each for each in ahead})
    epochs = decided(*offsets)._replace(cut=cut)
    written = marked(Position(committed, encode(committed, settled)), epochs)
    assert written.metadata is not None
    found = read_by_8305916(committed, written.metadata)
    assert found is not None
    assert found[: len(settled)] == settled
    assert all(first >= 1 << 62 for first, _ in found[len(settled) :])


@given(st.integers(0, 1_000), st.integers(1, 50), decisions)
def test_each_commit_of_a_lane_carries_the_marks_on(committed: int, taken: int, offsets: list[int]) -> None:
    """Whatever is settled: a lane takes marks for settled offsets far ahead, and keeps those."""
    epochs = decided(*offsets)
    position = marked(Position(committed, ""), epochs)
    tracker = OffsetTracker(committed, decode(committed, position.metadata))
    for offset in range(committed, committed + taken):
        assert not tracker.settled_before(offset)
        tracker.take(offset)
        if offset % 3:
            tracker.settle(offset)
        at, settled = tracker.commit_point()
        assert epochs_of(Position(at, encode(at, settled))) == epochs
    tracker.rebase(at, decode(at, encode(at, settled)))
    at, settled = tracker.commit_point()
    assert epochs_of(Position(at, encode(at, settled))) == epochs


def test_there_is_room_for_all_marks_beside_the_most_runs() -> None:
    """As many gaps as there can be, each as far from the next as it can be, and every epoch that is kept."""
    committed = 1 << 61
    most = [(committed + 1 + at * MAX_SPAN, committed + at * MAX_SPAN + MAX_SPAN - 1) for at in range(513)]
    assert len(most) == MAX_AWAITING + 1
    epochs = decided(*(committed - 100 + each for each in range(100)))
    assert len(encode(committed, [*most, *epochs._replace(cut=committed).runs()])) <= METADATA_CAP


@pytest.mark.parametrize(
    ("committed", "ahead", "end", "cut"), [(5, (), 4, 4), (5, (8,), 8, 8), (5, (8,), 9, None)]
)
def test_a_log_that_ends_before_what_was_settled_was_cut(
    committed: int, ahead: tuple[int, ...], end: int, cut: int | None
) -> None:
    """That is kept beside all else, wherever the log ends later."""
    position = marked(Position(committed, encode(committed, runs(set(ahead)))), decided(3))
    found = cut_at(position, end)
    assert epochs_of(found) == decided(3)._replace(cut=cut)
    assert cut_at(found, 3 if cut else 100) == found
    assert marked(found, decided(3)) == position


def test_each_offset_belongs_to_the_last_epoch_that_began_before_it() -> None:
    """What a later decision overtakes has no offsets any more; its number is never used again."""
    epochs = decided(10, 20)
    assert [epochs.epoch_of(offset) for offset in (0, 9, 10, 19, 20, 1 << 60)] == [0, 0, 1, 1, 2, 2]
    again = epochs.begun(15, LOG)
    assert [again.epoch_of(offset) for offset in (9, 10, 14, 15, 20)] == [0, 1, 1, 3, 3]
    assert (UNKNOWN.current, epochs.current, again.current) == (0, 2, 3)


def test_another_log_is_another_epoch_from_its_first_record_on() -> None:
    """The known log, or one that cannot be told, changes nothing."""
    epochs = decided(10)
    assert epochs.in_log(OTHER) == Epochs(OTHER, ((0, 2),))
    assert epochs.in_log(LOG) == epochs.in_log(None) == epochs
    assert UNKNOWN.in_log(OTHER) == UNKNOWN


def test_metadata_that_cannot_be_read_is_not_taken_for_one_without_marks() -> None:
    """Nothing is known then; a lane reports it, so it must not be replaced before."""
    for metadata, found in (("", False), ("cs9.what", True), ("text of another program", True)):
        assert epochs_of(Position(7, metadata)) == UNKNOWN
        assert is_marked(Position(7, metadata)) is found
    assert not is_marked(Position(7, encode(7, [(9, 9)])))
    assert is_marked(marked(Position(7, ""), Epochs(LOG)))


def test_a_topic_s_id_is_known_by_61_bits() -> None:
    """A broker without ids of topics gives none."""
    assert log_of("f" * 32) == LOG
    assert log_of("") is None
