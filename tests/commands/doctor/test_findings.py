"""What a check comes to, and the exit code."""

import pytest

from streams.commands.doctor.findings import Finding, exit_code, note, ok, problem, seconds, warning


def test_only_problems_count_for_the_exit_code() -> None:
    """Warnings and notes do not, and 100 is the most that is told."""
    three: list[Finding] = [problem("a", "b", "c")] * 3
    assert exit_code([ok("a", "b"), note("a", "b"), warning("a", "b", "c"), *three]) == 3
    assert exit_code(three * 100) == 100


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, "0.2 s"), (119, "119.0 s"), (600, "10 min"), (7_200, "2 h"), (604_800, "7 days")],
)
def test_durations_are_said_as_people_say_them(value: float, text: str) -> None:
    """In the largest unit of which there are at least two."""
    assert seconds(value) == text
