"""Clocks."""

import pytest

from streams.commands.doctor.clock import conclude
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
