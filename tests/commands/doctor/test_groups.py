"""How far the group is behind."""

from streams.commands.doctor.findings import Severity
from streams.commands.doctor.groups import check_lag, check_readers

NOW = 10_000.0


def at(age: float) -> int:
    return int((NOW - age) * 1000)


def test_a_little_lag_is_normal() -> None:
    """Told in all and by partition."""
    (finding,) = check_lag("actions", {0: 5, 1: 7}, {0: 8, 1: 7}, {0: at(1)}, NOW)
    assert (finding.level, finding.text) == (
        Severity.OK,
        "actions: 3 offsets behind (by partition 0: 3, 1: 0)",
    )


def test_old_lag_is_a_warning_and_then_a_problem() -> None:
    """By how long the oldest action without an outcome has waited, not by how many there are."""
    findings = check_lag(
        "actions", {0: 5, 1: 7, 2: 0}, {0: 6, 1: 9, 2: 9}, {0: at(60), 1: at(600), 2: at(3)}, NOW
    )
    assert [(finding.level, finding.text.partition(":")[0]) for finding in findings] == [
        (Severity.WARNING, "actions/0"),
        (Severity.PROBLEM, "actions/1"),
    ]


def test_no_committed_offset_is_a_decision_to_take() -> None:
    """With records: a problem. Without: nothing yet."""
    (undecided,) = check_lag("actions", {0: None, 1: None}, {0: 0, 1: 3}, {}, NOW)
    assert (undecided.level, "ACTIONS_START" in undecided.remedy) == (Severity.PROBLEM, True)
    (new,) = check_lag("actions", {0: None}, {0: 0}, {}, NOW)
    assert new.level is Severity.NOTE


def test_without_a_reader_the_mailer_is_asked_for() -> None:
    """A note: it may keep its offsets elsewhere."""
    (finding,) = check_readers("emails", [])
    assert (finding.level, "is there a mailer" in finding.text) == (Severity.NOTE, True)
