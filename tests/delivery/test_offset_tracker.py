"""Which offsets are settled, and how that travels."""

from __future__ import annotations

import base64
import string
import zlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.delivery import offset_tracker as progress
from streams.delivery.offset_tracker import (
    MAX_PENDING,
    MAX_SPAN,
    OffsetTracker,
    Run,
    UnreadableMetadata,
    decode,
    encode,
)

LENGTHS = st.integers(0, 3) | st.integers(0, 1 << 22)


@st.composite
def runs_beyond(draw: st.DrawFn) -> tuple[int, list[Run]]:
    committed = draw(st.integers(0, 1 << 60))
    runs: list[Run] = []
    previous = committed
    for distance, length in draw(st.lists(st.tuples(LENGTHS, LENGTHS), max_size=40)):
        first = previous + 1 + distance
        runs.append((first, first + length))
        previous = first + length
    return committed, runs


def offsets_of(runs: list[Run]) -> set[int]:
    return {offset for first, last in runs for offset in range(first, last + 1)}


# -- the metadata string ------------------------------------------------------------------------------------


@given(runs_beyond())
def test_what_is_encoded_decodes_to_the_same(case: tuple[int, list[Run]]) -> None:
    """Decoding beside the same committed offset gives the runs back, from printable ASCII."""
    committed, runs = case
    metadata = encode(committed, runs)
    assert decode(committed, metadata) == runs
    assert set(metadata) <= set(string.ascii_letters + string.digits + string.punctuation)


@pytest.mark.parametrize("metadata", ["", None])
def test_no_metadata_lists_nothing(metadata: str | None) -> None:
    """A group that only ever committed an offset has nothing settled beyond it."""
    assert decode(7, metadata) == []
    assert encode(7, []) == ""


def _sealed(committed: int, raw: bytes) -> str:
    """Metadata with a good checksum, whatever is in it."""
    text = base64.b85encode(raw).decode()
    return f"cs1.{zlib.crc32(f'{committed}.{text}'.encode()):08x}.{text}"


def test_the_layout_is_what_is_documented() -> None:
    """Version, CRC-32 of committed offset and text, base85 of varint pairs: other versions rely on it."""
    assert encode(100, [(101, 101), (500, 700)]) == _sealed(100, bytes([1, 0, 0x8F, 3, 0xC8, 1]))


@pytest.mark.parametrize(
    "metadata",
    [
        "x",
        "cs1",
        "cs1.",
        "cs1.00000000",
        "cs1.00000000.",
        "cs2.00000000.00",
        "CS1.00000000.00",
        "leader-epoch=4",
        '{"client":"another"}',
        "cs1.00000000.é",
        "\N{SNOWMAN}" * 30,
        _sealed(0, bytes([5])),  # half a run
        _sealed(0, bytes([5, 0x80])),  # half a number
        _sealed(0, bytes([0, 3])),  # a run that begins at the committed offset
        _sealed(0, bytes([5, 3, 0, 3])),  # runs that overlap
        _sealed(0, b"\xff" * 12 + b"\x01\x01"),  # more than 64 bits
        _sealed(9, bytes([5, 3])),  # belongs to another committed offset
        f"cs1.{zlib.crc32(b'0.~~~~~'):08x}.~~~~~",  # base85 beyond 32 bits
        f"cs1.{zlib.crc32(b'0.,,'):08x}.,,",  # not base85
    ],
)
def test_what_it_did_not_write_is_refused(metadata: str) -> None:
    """Foreign, newer, cut off or senseless metadata raises rather than being half understood."""
    with pytest.raises(UnreadableMetadata):
        decode(0, metadata)


@given(runs_beyond(), st.data())
def test_one_changed_character_is_noticed(case: tuple[int, list[Run]], data: st.DataObject) -> None:
    """Whichever single character is replaced, decoding raises: it never gives other offsets."""
    committed, runs = case
    metadata = encode(committed, [*runs, (committed + (1 << 62), committed + (1 << 62))])
    index = data.draw(st.integers(0, len(metadata) - 1))
    other = data.draw(st.characters(codec="utf-8").filter(lambda character: character != metadata[index]))
    with pytest.raises(UnreadableMetadata):
        decode(committed, metadata[:index] + other + metadata[index + 1 :])


@given(runs_beyond(), st.data())
def test_a_truncated_text_is_noticed(case: tuple[int, list[Run]], data: st.DataObject) -> None:
    """A text that lost its end raises."""
    committed, runs = case
    metadata = encode(committed, [*runs, (committed + (1 << 62), committed + (1 << 62))])
    with pytest.raises(UnreadableMetadata):
        decode(committed, metadata[: data.draw(st.integers(1, len(metadata) - 1))])


@given(runs_beyond(), st.integers(0, 1 << 60))
def test_metadata_beside_another_offset_is_refused(case: tuple[int, list[Run]], other: int) -> None:
    """Who moves the committed offset and keeps the metadata (a mirror) makes it unreadable, not wrong."""
    committed, runs = case
    runs = [*runs, (committed + (1 << 62), committed + (1 << 62))]
    if other != committed:
        with pytest.raises(UnreadableMetadata):
            decode(other, encode(committed, runs))


def test_the_worst_case_fits_under_the_brokers_cap() -> None:
    """As many runs as can be, each as far from the last and as long as can be, take less than 4,096 bytes."""
    runs: list[Run] = []
    previous = 0
    for _ in range(MAX_PENDING + 1):
        runs.append((previous + MAX_SPAN - 1, previous + 2 * (MAX_SPAN - 1)))
        previous = runs[-1][1]
    assert len(encode(0, runs)) < progress.METADATA_CAP


# -- the window against a plain model -----------------------------------------------------------------------


class Model:
    """What the window stands for, without any economy: the sets themselves."""

    def __init__(self) -> None:
        self.log: list[int] = []  # offsets that exist
        self.settled: set[int] = set()

    def check(self, tracker: OffsetTracker) -> None:
        committed, runs = tracker.progress()
        assert len(encode(committed, runs)) < progress.METADATA_CAP
        assert decode(committed, encode(committed, runs)) == runs
        listed = offsets_of(runs)
        for offset in self.log:
            assert (offset < committed or offset in listed) == (offset in self.settled), offset


def lived(draw: st.DrawFn, model: Model, tracker: OffsetTracker, gaps: st.SearchStrategy[int]) -> None:
    """Take and settle as a lane does, for a while, over the model's log, which grows as needed."""
    waiting: list[int] = []
    ahead = iter([offset for offset in model.log if offset >= tracker.position])
    offset = tracker.position - 1
    for settle_at_once, answers in draw(
        st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 1 << 16), max_size=3)), max_size=60)
    ):
        following = next(ahead, None)
        if following is None:
            following = max(offset, *model.log[-1:], tracker.position - 1) + 1 + draw(gaps)
            model.log.append(following)
        offset = following
        if offset < tracker.position:
            continue
        if tracker.settled_before(offset):
            assert offset in model.settled
            tracker.position = offset + 1
        else:
            assert offset not in model.settled
            if tracker.uncommitted > MAX_PENDING or not tracker.spans(offset):
                break
            if settle_at_once:
                tracker.position = offset + 1
                model.settled.add(offset)
            else:
                tracker.take(offset)
                waiting.append(offset)
        for answer in answers:
            if waiting:
                settled = waiting.pop(answer % len(waiting))
                assert tracker.settle(settled)
                assert not tracker.settle(settled)
                model.settled.add(settled)
        model.check(tracker)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_window_lists_exactly_what_is_settled(data: st.DataObject) -> None:
    """Through any history, and any number of successors, what is committed says which records are settled."""
    gaps = st.sampled_from([0, 0, 0, 1, 7])
    model = Model()
    committed = data.draw(st.integers(0, 100))
    tracker = OffsetTracker(committed)
    for _ in range(data.draw(st.integers(1, 4))):
        lived(data.draw, model, tracker, gaps)
        committed, runs = tracker.progress()
        tracker = OffsetTracker(committed, decode(committed, encode(committed, runs)))
        model.check(tracker)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([1, 2, 130, 20_000, MAX_SPAN - 1, MAX_SPAN]))))
@example([(False, MAX_SPAN // MAX_PENDING - 1), (True, 1)] * 1000)
@example([(False, 1), (True, 1)] * 1000)
@example([(True, MAX_SPAN), (False, MAX_SPAN), (True, MAX_SPAN - 1)] * 3)
@settings(max_examples=200, deadline=None)
def test_a_history_within_the_limits_always_fits(history: list[tuple[bool, int]]) -> None:
    """With at most 513 pending, and offsets taken only where the window spans, commits stay under the cap."""
    tracker = OffsetTracker(0)
    offset = -1
    for settled, distance in history:
        offset += distance
        if tracker.uncommitted > MAX_PENDING or not tracker.spans(offset):
            break
        if settled:
            tracker.position = offset + 1
        else:
            tracker.take(offset)
        committed, runs = tracker.progress()
        assert len(encode(committed, runs)) < progress.METADATA_CAP


def test_nothing_unsettled_spans_any_gap() -> None:
    """A log that jumps far ahead (its old part was deleted) is followed, where no record waits behind."""
    tracker = OffsetTracker(10)
    assert tracker.spans(10 + 5 * MAX_SPAN)
    tracker.take(10)
    assert not tracker.spans(10 + MAX_SPAN)
    assert tracker.spans(10 + MAX_SPAN - 1)


def test_the_predecessors_runs_survive_every_commit() -> None:
    """What a predecessor settled beyond our position is listed again by every commit until we are past it."""
    tracker = OffsetTracker(10, [(12, 14), (20, 30), (40, 40)])
    assert tracker.progress() == (10, [(12, 14), (20, 30), (40, 40)])
    tracker.take(10)
    assert tracker.progress() == (10, [(12, 14), (20, 30), (40, 40)])
    tracker.take(11)
    assert tracker.progress() == (10, [(12, 14), (20, 30), (40, 40)])
    tracker.settle(10)
    assert tracker.progress() == (11, [(12, 14), (20, 30), (40, 40)])
    tracker.settle(11)
    assert tracker.progress() == (15, [(20, 30), (40, 40)])
    assert tracker.position == 15
    for offset in range(15, 20):
        assert not tracker.settled_before(offset)
        tracker.position = offset + 1
    assert tracker.progress() == (31, [(40, 40)])


def test_settled_before_knows_the_edges_of_each_run() -> None:
    """A run's first and last offsets are settled, their neighbours are not."""
    tracker = OffsetTracker(10, [(12, 14), (16, 16)])
    settled = [offset for offset in range(10, 20) if tracker.settled_before(offset)]
    assert settled == [12, 13, 14, 16]


def test_rebase_drops_what_somebody_else_settled() -> None:
    """Of the unsettled ones stay those that the cluster has neither passed nor listed."""
    tracker = OffsetTracker(0)
    for offset in (2, 4, 6, 8, 10):
        tracker.take(offset)
    tracker.rebase(4, [(6, 7), (10, 12)])
    assert tracker.uncommitted == 2
    assert not tracker.settle(2)
    assert not tracker.settle(6)
    assert not tracker.settle(10)
    assert tracker.progress() == (4, [(5, 7), (9, 12)])
    assert tracker.settle(4)
    assert tracker.settle(8)
    assert tracker.progress() == (13, [])


def test_rebase_never_goes_back() -> None:
    """A committed offset behind the position leaves the position; one beyond moves it."""
    tracker = OffsetTracker(0)
    tracker.take(7)
    tracker.rebase(3, [])
    assert tracker.progress() == (7, [])
    assert tracker.position == 8
    tracker.rebase(20, [(22, 23)])
    assert tracker.uncommitted == 0
    assert tracker.progress() == (20, [(22, 23)])


def test_the_oldest_unsettled_record_has_its_timestamp() -> None:
    """It is that of the first record without outcome, also after the window goes on from elsewhere."""
    tracker = OffsetTracker(0)
    assert tracker.oldest_timestamp_ms is None
    for offset, timestamp in ((0, 100), (1, 101), (2, 99)):
        tracker.take(offset, timestamp)
    assert tracker.oldest_timestamp_ms == 100
    assert tracker.settle(0)
    assert not tracker.settle(0)
    assert tracker.oldest_timestamp_ms == 101
    tracker.rebase(2, [])
    assert tracker.oldest_timestamp_ms == 99
