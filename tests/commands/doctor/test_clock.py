"""Clocks."""

from types import SimpleNamespace
from typing import Any

import pytest

from streams.commands.doctor.clock import check_emails, conclude
from streams.commands.doctor.findings import Severity


@pytest.mark.parametrize(
    ("ahead", "within", "level"),
    [
        (0.2, 0.1, Severity.OK),
        (-5.0, 6.0, Severity.OK),  # what a slow answer cannot tell is not held against anybody
        (5.0, 0.1, Severity.WARNING),
        (-60.0, 0.1, Severity.PROBLEM),
    ],
)
def test_a_difference_counts_by_what_is_certain_of_it(ahead: float, within: float, level: Severity) -> None:
    """Half the time that the answer took is in doubt."""
    assert conclude(ahead, within).level is level


def email(decided: str, written: float, partition: int = 0) -> Any:
    return SimpleNamespace(
        value=b'{"decidedAt":"%b"}' % decided.encode(), timestamp=int(written * 1000), partition=partition
    )


def test_a_worker_whose_timestamps_had_to_be_corrected_is_named() -> None:
    """An email that was written before it was decided shows a clock that is ahead."""
    decided, at = "2026-11-24T10:00:00Z", 1_795_514_400.0
    assert check_emails([email(decided, at), email(decided, at + 7_200)]) == []
    (finding,) = check_emails([email(decided, at), email(decided, at - 7_200, partition=3)])
    assert "the worker of partition 3 is ahead of the brokers' clock by up to 2" in finding.text
    assert check_emails([SimpleNamespace(value=b"{", timestamp=0, partition=0)]) == []
