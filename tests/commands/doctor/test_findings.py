"""What a check comes to, and the exit code."""

import pytest

from streams.commands.doctor.findings import (
    exit_code,
    note,
    ok,
    problem,
    seconds,
    warning,
    wrong_organisations,
)
from streams.commands.doctor.report import show


def test_only_problems_count_for_the_exit_code() -> None:
    """Warnings and notes do not; one problem and a thousand have the same code, as everywhere."""
    fine = [ok("a", "b"), note("a", "b"), warning("a", "b", "c")]
    assert exit_code(fine, kafka_answers=True) == 0
    assert exit_code([*fine, problem("a", "b", "c")], kafka_answers=True) == 1
    assert exit_code([problem("a", "b", "c")] * 1_000, kafka_answers=True) == 1


def test_what_every_command_has_a_code_for_comes_before_problems() -> None:
    """Kafka that does not answer is 3; a wrong organisations file is 2, with or without Kafka."""
    away = problem("brokers", "b", "c")
    assert exit_code([away], kafka_answers=False) == 3
    wrong = wrong_organisations(ValueError("line 7: no such key"))
    assert "line 7" in wrong.text
    assert [exit_code([away, wrong], kafka_answers=answers) for answers in (True, False)] == [2, 2]


def test_three_thousand_findings_of_one_kind_fit_on_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten of a kind are shown and the others counted, with one remedy; every other finding has its line."""
    many = [problem("lookups", f"organisation {number}: no connection", "mend it") for number in range(3_000)]
    show([many[0], ok("brokers", "1 known"), *many[1:], problem("keys", "other", "key them")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:10] == [f"PROBLEM  lookups: organisation {number}: no connection" for number in range(10)]
    assert lines[10:] == [
        "PROBLEM  lookups: and 2,990 more like these",
        "           → mend it",
        "ok       brokers: 1 known",
        "PROBLEM  keys: other",
        "           → key them",
        "3,001 problems",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, "0.2 s"), (119, "119.0 s"), (600, "10 min"), (7_200, "2 h"), (604_800, "7 days")],
)
def test_durations_are_said_as_people_say_them(value: float, text: str) -> None:
    """In the largest unit of which there are at least two."""
    assert seconds(value) == text
