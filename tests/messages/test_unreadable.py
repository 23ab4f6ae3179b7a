"""What stands for records that nobody can read."""

from __future__ import annotations

from streams.messages.unreadable import UnreadableRecords


def test_the_place_of_one_record_and_of_many_is_said_in_words() -> None:
    """Topic, partition and offsets, as a person looks for them."""
    assert UnreadableRecords(5, 5, "r").place("actions", 3) == "the record at offset 5 of actions/3"
    many = UnreadableRecords(1_200, 1_204, "r").place("actions", 3)
    assert many == "the records at offsets 1,200 to 1,204 of actions/3"
