"""Where a partition begins, and when a person has to say so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streams.delivery.commit_metadata import decode, encode
from streams.delivery.epochs import Epochs, epochs_of, marked
from streams.delivery.offsets import Extent
from streams.delivery.starting import OperatorNeeded, Start, StartingPositions, start_of
from streams.delivery.transaction import Position
from tests.delivery.runs import runs

PLACE = TopicPartition("actions", 3)


def test_a_committed_offset_that_the_log_has_is_believed() -> None:
    """From the log's first record to its end, with all that is settled beyond it."""
    for offset in (5, 7, 9):
        position = Position(offset, encode(offset, [(offset + 1, offset + 1)]))
        assert start_of(PLACE, position, Extent(5, 11)) == Start(position)
    assert start_of(PLACE, Position(9, ""), Extent(5, 9)) == Start(Position(9, ""))


def test_an_offset_beyond_the_end_waits_for_a_person() -> None:
    """The sentence names the place, both offsets and the command."""
    with pytest.raises(OperatorNeeded, match=r"decision.*1,000 of actions/3.*beyond.*10.*start-at actions 3"):
        start_of(PLACE, Position(1_000, ""), Extent(0, 10))
    with pytest.raises(OperatorNeeded, match=r"settled after.* offset 5 of actions/3 is beyond.*9: records"):
        start_of(PLACE, Position(5, encode(5, [(7, 9)])), Extent(0, 9))


def test_a_topic_made_anew_waits_for_a_person_wherever_its_log_ends() -> None:
    """Also where it is longer than the old one, is empty, or nothing is committed for it any more."""
    for position, extent in (
        (Position(5, ""), Extent(0, 1_000)),
        (Position(5, ""), Extent(0, 0)),
        (Position(None, ""), Extent(0, 9)),
    ):
        with pytest.raises(
            OperatorNeeded, match=r"decision.*topic actions was.*made again.*start-at actions 3"
        ):
            start_of(PLACE, position, extent, None, Epochs(1), 2)
    assert start_of(PLACE, Position(5, ""), Extent(0, 1_000), None, Epochs(1), 1) == Start(Position(5, ""))


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


class FakeOffsets:
    """Committed offsets by topic and partition; ends of the emails' partitions; the rest end at `end`."""

    def __init__(self, committed: dict[tuple[str, int], int], emails: dict[int, int] | None = None) -> None:
        self.by_place = committed
        self.emails = emails or {}
        self.end = 9
        self.metadata: dict[tuple[str, int], str] = {}
        self.topic_id = f"{8:016x}" + 16 * "0"

    async def all_committed(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Position]:
        return {
            place: Position(self.by_place.get(tuple(place)), self.metadata.get(tuple(place), ""))
            for place in places
        }

    async def committed(self, place: TopicPartition) -> Position:
        return (await self.all_committed([place]))[place]

    async def admin(self) -> FakeOffsets:
        return self

    def commit(self, place: TopicPartition, position: Position) -> None:
        assert position.offset is not None
        self.by_place[tuple(place)], self.metadata[tuple(place)] = position.offset, position.metadata or ""

    async def extents(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, Extent]:
        return {
            place: Extent(0, self.emails.get(place.partition, 0) if place.topic == "emails" else self.end)
            for place in places
        }


def starting(committed: dict[tuple[str, int], int], emails: dict[int, int] | None = None) -> Any:
    offsets: Any = FakeOffsets(committed, emails)
    return StartingPositions(offsets, ("actions", "rekeyed"), "emails", topic_id)


async def topic_id(admin: FakeOffsets, _: str) -> str:
    return admin.topic_id


NOTHING = Position(None, "")


async def test_a_partition_that_was_added_is_known_by_what_is_not_there() -> None:
    """No input has an offset for it or a later one, and no email was written: both inputs begin."""
    both = {(topic, number): 5 for topic in ("actions", "rekeyed") for number in (0, 1)}
    positions = starting(both)
    assert (await positions.start(TopicPartition("actions", 2), NOTHING, 3)).position.offset == 0
    positions._offsets.by_place["actions", 2] = 0  # pinned, before the other input's lane is open
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
        positions._offsets.by_place["rekeyed", number] = 0


# -- epochs -------------------------------------------------------------------------------------------------

ACTIONS, REKEYED = TopicPartition("actions", 2), TopicPartition("rekeyed", 2)


def another_topic(offsets: Any) -> None:
    """Delete the topic of the actions and make it again: Kafka deletes its committed offsets as well."""
    offsets.topic_id = f"{16:016x}" + 16 * "0"
    offsets.by_place = {place: offset for place, offset in offsets.by_place.items() if place[0] != "actions"}


async def begun(committed: int = 5, metadata: str = "") -> StartingPositions:
    """Both inputs have been worked on in this version, after an earlier one has committed this."""
    positions = starting(
        {(topic, number): committed for topic in ("actions", "rekeyed") for number in range(4)}
    )
    offsets: Any = positions._offsets
    offsets.metadata[tuple(ACTIONS)] = metadata
    for place in (ACTIONS, REKEYED):
        offsets.commit(place, (await positions.start(place, await offsets.committed(place), 4)).position)
    return positions


async def test_the_log_is_noted_with_both_inputs_and_settled_offsets_stay() -> None:
    """A group of an earlier version takes the topic that is there for the one it has worked on."""
    positions = await begun(5, encode(5, [(7, 8)]))
    offsets: Any = positions._offsets
    for place in (ACTIONS, REKEYED):
        position = await offsets.committed(place)
        assert epochs_of(position) == Epochs(1)
        assert await positions.start(place, position, 4) == Start(position)
    assert decode(5, offsets.metadata[tuple(ACTIONS)])[0] == (7, 8)


async def test_metadata_that_nobody_can_read_is_left_to_the_lane() -> None:
    """The lane reports it; it must not vanish before."""
    positions = await begun(5, "cs9.what")
    offsets: Any = positions._offsets
    assert (await offsets.committed(ACTIONS)).metadata == "cs9.what"


@pytest.mark.parametrize("offset", [0, 7, 9])
async def test_a_topic_made_anew_begins_a_new_epoch_with_its_first_record(offset: int) -> None:
    """Wherever a person says to go on: none of its records is one of the old log."""
    positions = await begun()
    offsets: Any = positions._offsets
    another_topic(offsets)
    with pytest.raises(OperatorNeeded, match="made again"):
        await positions.start(ACTIONS, NOTHING, 4)
    decided = await positions.decided(ACTIONS, NOTHING, offset)
    assert (decided.offset, epochs_of(decided)) == (offset, Epochs(2, ((0, 1),)))
    offsets.commit(ACTIONS, decided)
    assert await positions.start(ACTIONS, decided, 4) == Start(decided)


async def test_the_next_topic_made_anew_begins_the_next_epoch() -> None:
    """The marks beside the re-keyed actions' offset outlive the topic, so that no number comes twice."""
    positions = await begun()
    offsets: Any = positions._offsets
    for epoch in (1, 2, 3):
        another_topic(offsets)
        offsets.topic_id = f"{8 * (epoch + 1):016x}"
        decided = await positions.decided(ACTIONS, NOTHING, 0)
        assert epochs_of(decided) == Epochs(epoch + 1, ((0, epoch),))
        offsets.commit(REKEYED, marked(await offsets.committed(REKEYED), epochs_of(decided)))
        offsets.commit(ACTIONS, decided)


async def test_a_log_that_was_cut_begins_a_new_epoch_where_a_person_goes_on() -> None:
    """What lies before that place keeps its epoch: it is what it was. The re-keyed topic has no epochs."""
    positions = await begun()
    cut = marked(Position(1_000, ""), Epochs(1))
    assert epochs_of(await positions.decided(ACTIONS, cut, 7)) == Epochs(1, ((7, 1),))
    assert epochs_of(await positions.decided(ACTIONS, Position(1_000, ""), 7)) == Epochs(1, ((7, 1),))
    assert epochs_of(await positions.decided(REKEYED, cut, 7)) == Epochs(1)


@pytest.mark.parametrize("place", [ACTIONS, REKEYED])
async def test_a_log_that_was_cut_waits_however_long_it_grows(place: TopicPartition) -> None:
    """Until a person decides: new records lie where those lay that were cut off, and nobody has read them."""
    positions = await begun()
    offsets: Any = positions._offsets
    offsets.commit(place, marked(Position(12, ""), Epochs(1)))
    for end in (9, 100):
        offsets.end = end
        with pytest.raises(OperatorNeeded, match="beyond the end of its log, 9:") as needed:
            await positions.start(place, await offsets.committed(place), 4)
        assert needed.value.position is not None
        offsets.commit(place, needed.value.position)
    decided = await positions.decided(place, await offsets.committed(place), 9)
    assert await positions.start(place, decided, 4) == Start(decided)
    assert epochs_of(decided).epoch_of(9) == (1 if place == ACTIONS else 0)


async def test_a_lost_offset_in_the_known_log_begins_no_epoch() -> None:
    """The records are those of before: an email that is written once more has the id that it had."""
    positions = await begun()
    assert epochs_of(await positions.decided(ACTIONS, NOTHING, 7)) == Epochs(1)


async def test_what_nobody_knows_begins_a_new_epoch() -> None:
    """A group of an earlier version whose offset is missing: the topic may be another one."""
    positions = starting({("rekeyed", 2): 5})
    assert epochs_of(await positions.decided(ACTIONS, NOTHING, 7)) == Epochs(1, ((7, 1),))
    with pytest.raises(OperatorNeeded, match="is missing"):
        await positions.start(ACTIONS, NOTHING, 4)


async def test_an_offset_set_by_another_tool_loses_no_epoch() -> None:
    """Such a tool writes no marks: those beside the re-keyed actions' offset hold."""
    positions = await begun()
    offsets: Any = positions._offsets
    offsets.commit(REKEYED, marked(await offsets.committed(REKEYED), Epochs(1, ((0, 4),))))
    start = await positions.start(ACTIONS, Position(3, ""), 4)
    assert epochs_of(start.position) == Epochs(1, ((0, 4),))


async def test_brokers_without_ids_of_topics_change_nothing() -> None:
    """Offsets alone say then where a partition begins, and no metadata is written."""
    positions = starting({("actions", 2): 5, ("rekeyed", 2): 5})
    offsets: Any = positions._offsets
    offsets.topic_id = ""
    assert await positions.start(ACTIONS, Position(5, ""), 4) == Start(Position(5, ""))
