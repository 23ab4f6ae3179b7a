"""Which offsets are taken, which of them are settled, and what is committed."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.delivery import commit_metadata
from streams.delivery.commit_metadata import MAX_AWAITING, MAX_SPAN, Run, decode, encode
from streams.delivery.offset_tracker import OffsetTracker


def offsets_of(runs: list[Run]) -> set[int]:
    return {offset for first, last in runs for offset in range(first, last + 1)}


class Model:
    """What the window stands for, without any economy: the sets themselves."""

    def __init__(self) -> None:
        self.log: list[int] = []  # offsets that exist
        self.settled: set[int] = set()

    def check(self, tracker: OffsetTracker) -> None:
        committed, runs = tracker.commit_point()
        assert len(encode(committed, runs)) < commit_metadata.METADATA_CAP
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
            if tracker.awaiting_lookup > MAX_AWAITING or not tracker.spans(offset):
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
        committed, runs = tracker.commit_point()
        tracker = OffsetTracker(committed, decode(committed, encode(committed, runs)))
        model.check(tracker)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([1, 2, 130, 20_000, MAX_SPAN - 1, MAX_SPAN]))))
@example([(False, MAX_SPAN // MAX_AWAITING - 1), (True, 1)] * 1000)
@example([(False, 1), (True, 1)] * 1000)
@example([(True, MAX_SPAN), (False, MAX_SPAN), (True, MAX_SPAN - 1)] * 3)
@settings(max_examples=200, deadline=None)
def test_a_history_within_the_limits_always_fits(history: list[tuple[bool, int]]) -> None:
    """With at most 513 pending, and offsets taken only where the window spans, commits stay under the cap."""
    tracker = OffsetTracker(0)
    offset = -1
    for settled, distance in history:
        offset += distance
        if tracker.awaiting_lookup > MAX_AWAITING or not tracker.spans(offset):
            break
        if settled:
            tracker.position = offset + 1
        else:
            tracker.take(offset)
        committed, runs = tracker.commit_point()
        assert len(encode(committed, runs)) < commit_metadata.METADATA_CAP


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
    assert tracker.commit_point() == (10, [(12, 14), (20, 30), (40, 40)])
    tracker.take(10)
    assert tracker.commit_point() == (10, [(12, 14), (20, 30), (40, 40)])
    tracker.take(11)
    assert tracker.commit_point() == (10, [(12, 14), (20, 30), (40, 40)])
    tracker.settle(10)
    assert tracker.commit_point() == (11, [(12, 14), (20, 30), (40, 40)])
    tracker.settle(11)
    assert tracker.commit_point() == (15, [(20, 30), (40, 40)])
    assert tracker.position == 15
    for offset in range(15, 20):
        assert not tracker.settled_before(offset)
        tracker.position = offset + 1
    assert tracker.commit_point() == (31, [(40, 40)])


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
    assert tracker.awaiting_lookup == 2
    assert not tracker.settle(2)
    assert not tracker.settle(6)
    assert not tracker.settle(10)
    assert tracker.commit_point() == (4, [(5, 7), (9, 12)])
    assert tracker.settle(4)
    assert tracker.settle(8)
    assert tracker.commit_point() == (13, [])


def test_rebase_never_goes_back() -> None:
    """A committed offset behind the position leaves the position; one beyond moves it."""
    tracker = OffsetTracker(0)
    tracker.take(7)
    tracker.rebase(3, [])
    assert tracker.commit_point() == (7, [])
    assert tracker.position == 8
    tracker.rebase(20, [(22, 23)])
    assert tracker.awaiting_lookup == 0
    assert tracker.commit_point() == (20, [(22, 23)])


T = 1_764_000_000_000


def test_the_oldest_unsettled_record_has_its_timestamp() -> None:
    """It is that of the first record without outcome, also after the window goes on from elsewhere."""
    tracker = OffsetTracker(0)
    assert tracker.oldest_timestamp_ms is None
    for offset, timestamp in ((0, T + 100), (1, T + 101), (2, T + 99), (3, -1)):
        tracker.take(offset, timestamp)
    assert tracker.oldest_timestamp_ms == T + 100
    assert tracker.settle(0)
    assert not tracker.settle(0)
    assert tracker.oldest_timestamp_ms == T + 101
    tracker.rebase(2, [])
    assert tracker.oldest_timestamp_ms == T + 99
    assert tracker.settle(2)
    assert tracker.oldest_timestamp_ms is None, "a timestamp of 1970 says nothing"
