"""What the newest dead letters say."""

from collections.abc import Iterable

import pytest

from streams.commands.dead_letters.letters import DeadLetter
from streams.commands.doctor.dead_letters import accepted_among, check_accepted, check_limit, check_waiting
from streams.commands.doctor.findings import Severity
from streams.commands.topic_reader import RecordId

NOW = 10_000_000.0
DAY = 86_400.0


def letters(offsets: Iterable[int], *, partition: int = 0, age: float = 60.0) -> list[DeadLetter]:
    """Dead letters of actions at these offsets."""
    return [
        DeadLetter(
            RecordId(0, number),
            "actions",
            RecordId(partition, offset),
            "not_json",
            "$",
            int((NOW - age) * 1000),
            9,
            shortened=False,
        )
        for number, offset in enumerate(offsets)
    ]


def stopped(offsets: Iterable[int], committed: int | None, share: float = 0.5) -> bool:
    found = check_limit("actions", letters(offsets), {0: committed}, [0], share, {})
    assert all(each.level is Severity.PROBLEM for each in found)
    return bool(found)


@pytest.mark.parametrize(
    ("age", "recent"),
    [(60.0, 490), (3_601.0, 0), (DAY, 0), (5.9 * DAY, 0)],
    ids=["new", "hour", "day", "days"],
)
def test_dead_letters_that_nobody_settled_are_a_problem_whatever_their_age(age: float, recent: int) -> None:
    """With their classes, and how many are new: whoever looks only in the morning sees those of the night."""
    (told,) = check_waiting(letters(range(490), age=age), NOW)
    assert told.level is Severity.PROBLEM
    assert told.text == f"490 (not_json 490), neither retried nor accepted; {recent} in the last hour"
    assert "`streams dead-letters accept" in told.remedy
    (fine,) = check_waiting([], NOW)
    assert (fine.level, fine.text) == (Severity.OK, "none")


def test_of_dead_letters_older_than_a_week_nobody_can_tell() -> None:
    """Kafka forgets what was decided about them: a warning, or what was accepted would be red for ever."""
    (told,) = check_waiting(letters(range(3), age=8 * DAY), NOW)
    assert told.level is Severity.WARNING
    assert told.text.startswith("3 (not_json 3) of more than 6 days ago")
    old = letters(range(3), age=8 * DAY)
    (fine,) = check_waiting(old, NOW, {each.id for each in old})
    assert fine.level is Severity.OK


def test_dead_letters_that_a_person_has_seen_are_no_problem() -> None:
    """What was retried, or accepted with its partition, does not wait for anybody."""
    new = letters(range(10))
    accepted = accepted_among(new, {"actions": {0: 8}, "other": {0: 10}})
    assert accepted == {each.id for each in new[:8]}
    (waiting,) = check_waiting(new, NOW, accepted | {new[8].id})
    assert waiting.text.startswith("1 (not_json 1), neither retried nor accepted")
    (fine,) = check_waiting(new, NOW, {each.id for each in new})
    assert (fine.level, fine.text) == (Severity.OK, "10, retried or accepted")


def test_a_partition_that_stopped_at_the_ceiling_is_a_problem() -> None:
    """The last action before the committed offset is a dead letter, and so is more than the share."""
    (found,) = check_limit("actions", letters(range(849, 1_000)), {0: 1_000, 1: 5}, [0, 1], 0.5, {})
    assert found.text.startswith("actions/0 has stopped at offset 1,000: 151 of its last 151 actions")
    assert "STREAMS_DEAD_LETTER_CEILING" in found.remedy
    assert "`streams dead-letters accept actions 0 latest`" in found.remedy


def test_the_share_of_the_window_decides() -> None:
    """Every third action is less than half of them, two of three are more."""
    assert not stopped(range(0, 1_000, 3), 1_000)
    assert stopped([at for at in range(1_000) if at % 3 != 1], 1_000)


def test_a_window_of_less_than_a_hundred_actions_is_not_trusted() -> None:
    """As the worker does: fifty in a row are no more than half of a hundred."""
    assert not stopped(range(950, 1_000), 1_000)
    assert stopped(range(949, 1_000), 1_000)


def test_what_lies_further_back_than_the_window_does_not_count() -> None:
    """Dead letters of long ago stop nothing."""
    assert not stopped([*range(600), 2_999], 3_000)


def test_a_partition_goes_on_whose_last_action_was_good() -> None:
    """A partition that stops has the last dead letter right before its committed offset."""
    assert not stopped(range(800, 999), 1_000)


def test_without_actions_behind_it_nobody_waits() -> None:
    """Then it cannot be told whether it has stopped, and it harms nobody yet."""
    assert check_limit("actions", letters(range(100, 1_000)), {0: 1_000}, [], 0.5, {}) == []
    assert not stopped(range(100, 1_000), None)


def test_other_topics_and_partitions_are_told_apart() -> None:
    """A status that cannot be read, or another partition's action, stops no partition of actions."""
    elsewhere = [each._replace(topic="statuses") for each in letters(range(100, 1_000))]
    other = letters(range(100, 1_000), partition=1)
    unknown = [each._replace(source=None) for each in letters(range(100, 1_000))]
    assert check_limit("actions", [*elsewhere, *other, *unknown], {0: 1_000, 1: 2_000}, [0, 1], 0.5, {}) == []


def test_a_ceiling_of_one_never_stops() -> None:
    """Nothing but dead letters is not more than all of them."""
    assert not stopped(range(100, 1_000), 1_000, share=1.0)


def test_what_a_person_accepts_is_a_note_until_the_group_has_passed_it() -> None:
    """A decision is seen as long as it has an effect; a partition without an offset has passed nothing."""
    (first, second) = check_accepted("actions", {0: 10, 1: 500, 2: None}, {0: 400, 1: 500, 2: 1})
    assert first.level is Severity.NOTE
    assert (
        first.text == "a person accepts the dead letters of actions/0 before offset 400; the group is at 10"
    )
    assert "actions/2" in second.text


def test_a_partition_whose_dead_letters_are_accepted_has_not_stopped() -> None:
    """It goes on within seconds; once it has passed that offset, the ceiling counts again."""
    found = letters(range(849, 1_000))
    assert check_limit("actions", found, {0: 1_000}, [0], 0.5, {0: 1_001}) == []
    assert len(check_limit("actions", found, {0: 1_000}, [0], 0.5, {0: 1_000})) == 1
