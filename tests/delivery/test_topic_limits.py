"""Whether a record is too large, or its topic's limit too low."""

from __future__ import annotations

import pytest

from streams.delivery.topic_limits import ORDINARY_BYTES, TopicLimits

LIMIT = 1_048_588


@pytest.mark.parametrize(
    ("limits", "size", "at_fault"),
    [
        (TopicLimits({"emails": LIMIT}), LIMIT, True),
        (TopicLimits({"emails": LIMIT}), LIMIT + 1, False),
        (TopicLimits({"emails": 1_000}), ORDINARY_BYTES, True),
        (TopicLimits({"emails": 1_000}), ORDINARY_BYTES + 1, False),
        (TopicLimits({"emails": LIMIT}, guessed=["emails"]), ORDINARY_BYTES, True),
        (TopicLimits({"emails": LIMIT}, guessed=["emails"]), ORDINARY_BYTES + 1, False),
        (TopicLimits({"emails": LIMIT}, reduced=["emails"]), 1, False),
    ],
)
def test_a_record_that_its_topic_took_before_or_of_an_ordinary_size_is_not_too_large(
    limits: TopicLimits, size: int, at_fault: bool
) -> None:
    """The topic is at fault for what it once took and for what every topic must take, except dead letters."""
    assert (limits.fault("emails", size) is not None) == at_fault


async def test_what_a_topic_took_is_remembered_when_its_limit_is_lowered() -> None:
    """The limit that counts is the highest that anybody saw, and the present one is named."""
    found = iter([{"emails": 2 * LIMIT}, {"emails": 500}])

    async def look() -> dict[str, int]:
        return next(found)

    limits = TopicLimits({"emails": LIMIT}, look=look, clock=iter(range(9)).__next__)
    await limits.look()
    await limits.look()
    assert limits.now == {"emails": 500}
    fault = limits.fault("emails", 2 * LIMIT)
    assert "topic emails takes records of 500 bytes at most" in str(fault)
    assert limits.fault("emails", 2 * LIMIT + 1) is None


async def test_the_cluster_is_asked_once_a_second_for_all_lanes() -> None:
    """A second look within a second is not one; what is missing then stays known."""
    looks = []

    async def look() -> dict[str, int]:
        looks.append(now)
        return {}

    now = 5.0
    limits = TopicLimits({"emails": LIMIT}, look=look, clock=lambda: now)
    assert limits.missing() is None
    await limits.look()
    now = 5.9
    await limits.look()
    assert looks == [5.0]
    assert "topic emails is not there" in str(limits.missing())
    now = 6.0
    await limits.look()
    assert looks == [5.0, 6.0]
