"""What the doctor concludes from batches that cannot be read."""

from __future__ import annotations

import pytest

from streams.commands.doctor.batches import check_batches
from streams.commands.doctor.findings import Severity
from streams.commands.topic_reader import UnreadablePlace
from streams.messages.unreadable import UnreadableRecords

PLACE = UnreadablePlace("actions", 3, UnreadableRecords(5, 9, "its header is wrong"))


def test_a_batch_that_cannot_be_read_is_a_problem_with_the_command_that_passes_over_it() -> None:
    """Its place, the reason, and what a person can do."""
    (finding,) = check_batches([PLACE], {"actions": {3: 9}})
    assert finding.level is Severity.PROBLEM
    assert "the records at offsets 5 to 9 of actions/3 cannot be read: its header is wrong" in finding.text
    assert "`streams dead-letters accept actions 3 10`" in finding.remedy


@pytest.mark.parametrize("found", [[], [PLACE]])
def test_what_a_person_goes_on_without_is_none(found: list[UnreadablePlace]) -> None:
    """The worker passes over it within seconds."""
    (finding,) = check_batches(found, {"actions": {3: 10}})
    assert finding.level is Severity.OK
