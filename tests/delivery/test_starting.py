"""Where a partition begins, and when a person has to say so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.delivery.commit_metadata import decode, encode
from streams.delivery.offsets import Extent
from streams.delivery.starting import OperatorNeeded, Start, StartingPositions, start_of
from streams.delivery.transaction import Position

PLACE = TopicPartition("actions", 3)


def test_a_committed_offset_that_the_log_has_is_believed() -> None:
    """From the log's first record to its end, with all that is settled beyond it."""
    for offset in (5, 7, 9):
        position = Position(offset, encode(offset, [(offset + 1, offset + 1)]))
        assert start_of(PLACE, position, Extent(5, 9)) == Start(position)


def test_an_offset_beyond_the_end_waits_for_a_person() -> None:
    """The sentence names the place, both offsets and the command."""
    with pytest.raises(OperatorNeeded, match=r"decision.*1,000 of actions/3.*beyond.*10.*start-at actions 3"):
        start_of(PLACE, Position(1_000, ""), Extent(0, 10))


def test_a_missing_offset_of_a_partition_that_was_worked_on_waits_for_a_person() -> None:
    """A new partition begins at its first record, one with nothing to read too."""
    with pytest.raises(OperatorNeeded, match=r"decision.*actions/3 is missing.*250 offsets"):
        start_of(PLACE, Position(None, ""), Extent(10, 260), "an email")
    assert start_of(PLACE, Position(None, ""), Extent(10, 260)) == Start(Position(10, ""))
    assert start_of(PLACE, Position(None, ""), Extent(7, 7), "an email") == Start(Position(7, ""))


@given(st.integers(0, 30), st.sets(st.integers(1, 40)), st.integers(0, 60))
def test_what_was_deleted_unread_is_counted(committed: int, ahead: set[int], first: int) -> None:
    """Every offset before the log's first one is lost unless it was settled; those after it stay settled."""
    settled = {committed + each for each in ahead}
    metadata = encode(committed, runs(settled))
    start = start_of(PLACE, Position(committed, metadata), Extent(first, 100))
    assert start.lost == len(set(range(committed, first)) - settled)
    begin = start.position.offset or 0
    still = {each for a, b in decode(begin, start.position.metadata) for each in range(a, b + 1)}
    assert set(range(max(first, committed), 100)) - settled == set(range(begin, 100)) - still


def test_metadata_that_cannot_be_read_settles_nothing() -> None:
    """All that was deleted is then counted as lost."""
    start = start_of(PLACE, Position(5, "cs9.what"), Extent(15, 20))
    assert start == Start(Position(15, ""), 10)


def runs(offsets: Iterable[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for offset in sorted(offsets):
        if found and found[-1][1] == offset - 1:
            found[-1] = (found[-1][0], offset)
        else:
            found.append((offset, offset))
    return found


class FakeOffsets:
    """Committed offsets by topic and partition; ends of the emails' partitions; the rest has 9 records."""

    def __init__(self, committed: dict[tuple[str, int], int], emails: dict[int, int] | None = None) -> None:
        self.committed = committed
        self.emails = emails or {}

    async def all_committed(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Position]:
        return {place: Position(self.committed.get(tuple(place)), "") for place in places}

    async def extents(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Extent]:
        return {
            place: Extent(0, self.emails.get(place.partition, 0) if place.topic == "emails" else 9)
            for place in places
        }


def starting(committed: dict[tuple[str, int], int], emails: dict[int, int] | None = None) -> Any:
    offsets: Any = FakeOffsets(committed, emails)
    return StartingPositions(offsets, ("actions", "rekeyed"), "emails")


NOTHING = Position(None, "")


async def test_a_partition_that_was_added_is_known_by_what_is_not_there() -> None:
    """No input has an offset for it or a later one, and no email was written: both inputs begin."""
    both = {(topic, number): 5 for topic in ("actions", "rekeyed") for number in (0, 1)}
    positions = starting(both)
    assert (await positions.start(TopicPartition("actions", 2), NOTHING, 3)).position.offset == 0
    positions._offsets.committed["actions", 2] = 0  # pinned, before the other input's lane is open
    positions._offsets.emails[2] = 4
    assert (await positions.start(TopicPartition("rekeyed", 2), NOTHING, 3)).position.offset == 0


@pytest.mark.parametrize(
    ("committed", "emails"),
    [
        ({("actions", 0): 5, ("rekeyed", 2): 0}, {}),
        ({("actions", 0): 5, ("actions", 3): 0}, {}),
        ({("actions", 0): 5, ("rekeyed", 0): 0}, {2: 1}),
    ],
)
async def test_a_partition_with_any_trace_of_work_is_not_new(
    committed: dict[tuple[str, int], int], emails: dict[int, int]
) -> None:
    """An offset of the other input, or of a later partition, or an email: its own offset got lost."""
    with pytest.raises(OperatorNeeded):
        await starting(committed, emails).start(TopicPartition("actions", 2), NOTHING, 4)


async def test_an_input_that_the_group_never_read_is_new() -> None:
    """A group that comes from a version without re-keyed actions begins that topic at its first record."""
    positions = starting({("actions", number): 5 for number in range(4)}, dict.fromkeys(range(4), 9))
    for number in (2, 0):
        start = await positions.start(TopicPartition("rekeyed", number), NOTHING, 4)
        assert start.position.offset == 0
        positions._offsets.committed["rekeyed", number] = 0
