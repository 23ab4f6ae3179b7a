"""Releases by their feature level."""

from __future__ import annotations

import pytest

from streams.commands.doctor.brokers import release_of


@pytest.mark.parametrize(
    ("level", "release"),
    [(0, "before 3.0"), (7, "3.3"), (20, "3.8"), (25, "4.0"), (27, "4.1"), (99, "4.2 or newer")],
)
def test_a_level_belongs_to_the_release_that_introduced_it(level: int, release: str) -> None:
    """Several levels may belong to one release; beyond the last one known: or newer."""
    assert release_of(level) == release
