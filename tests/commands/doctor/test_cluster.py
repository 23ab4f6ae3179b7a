"""What becomes of a check that cannot look."""

from __future__ import annotations

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    UnsupportedVersionError,
)

from streams.commands.doctor.cluster import tried
from streams.commands.doctor.findings import Finding, Severity


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (GroupCoordinatorNotAvailableError(), Severity.PROBLEM),
        (TimeoutError(), Severity.PROBLEM),
        (GroupAuthorizationFailedError("group"), Severity.NOTE),
        (UnsupportedVersionError(), Severity.NOTE),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_kafka_cannot_tell_now_is_a_problem_and_what_it_may_not_tell_is_a_note(
    error: Exception, level: Severity
) -> None:
    """Nobody vouches for what was not seen; the finding has the error's class, and no text of Kafka's."""

    async def look() -> list[Finding]:
        raise error

    (found,) = await tried("group", look())
    assert found.level is level
    assert found.text == f"cannot be looked at ({type(error).__name__})"
