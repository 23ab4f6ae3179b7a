"""How many results one transaction has."""

from __future__ import annotations

from streams.delivery.commit_metadata import decode
from streams.delivery.offset_tracker import OffsetTracker
from streams.delivery.results import Processed, Result
from streams.delivery.transaction_size import FAST, TransactionSize
from tests.delivery.fakes import FakeRecord


def ready(*offsets: int) -> list[Processed]:
    return [Processed(FakeRecord(offset), Result(None, "done")) for offset in offsets]


def test_all_that_is_ready_goes_into_one_transaction() -> None:
    """With every offset settled, the position is committed and nothing is left."""
    results, left, offset, metadata = TransactionSize(100).portion(ready(5, 6, 7), OffsetTracker(8))
    assert (len(results), left, offset, metadata) == (3, [], 8, "")


def test_what_is_left_is_incomplete_in_what_is_committed() -> None:
    """A successor that reads the metadata does what was left, and nothing twice."""
    size = TransactionSize(100)
    size.timed_out(8)
    results, left, offset, metadata = size.portion(ready(7, 0, 5, 6, 1), OffsetTracker(8))
    assert [record.offset for record, _ in results] == [7, 0]
    assert [record.offset for record, _ in left] == [5, 6, 1]
    assert offset == 1
    assert decode(offset, metadata) == [(2, 4), (7, 7)]


def test_it_shrinks_with_each_time_out_and_grows_while_transactions_are_fast() -> None:
    """A quarter after a time-out, at least one result; twice as many after a fast one, up to the most."""
    size, tracker = TransactionSize(100), OffsetTracker(50)

    def now() -> int:
        return len(size.portion(ready(*range(50)), tracker).results)

    size.timed_out(50)
    assert now() == 12
    size.timed_out(2)
    assert now() == 1
    size.took(FAST)
    assert now() == 1
    for _ in range(3):
        size.took(FAST / 2)
    assert now() == 8
    for _ in range(10):
        size.took(0.0)
    assert now() == 50
